"""Machines to rent: vCPUs, memory and list price of a dozen types, and what Dataflow charges instead."""

import difflib
from typing import NamedTuple

from pipeline.errors import UserError

# On demand, Linux, in US dollars, as the clouds' price pages were quoted then; no discounts, taxes, disks or traffic.
LOOKED_UP = "November 2026"
_GOOGLE, _AMAZON, _AZURE = "Google Compute Engine, us-central1", "Amazon EC2, us-east-1", "Azure, East US"

_GIB = 1 << 30
_DATAFLOW = ("dataflow", "DataflowRunner")
_DATAFLOW_VCPU, _DATAFLOW_GIB, _DATAFLOW_DISK_GIB = 0.056, 0.003557, 0.000054  # an hour, batch, us-central1
_DATAFLOW_BOOT_DISK = 25  # GiB of a worker where the service shuffles
_DATAFLOW_SHUFFLE_GIB = 0.011  # written or read; the service gives a rebate on the first 5 TiB, which is left out here


class Machine(NamedTuple):
    """A type of machine; within a family the price goes with the vCPUs, so 8 of them stand for all sizes."""

    cloud: str
    vcpus: int
    memory_gib: int
    hourly: float


MACHINES = {
    "e2-standard-8": Machine(_GOOGLE, 8, 32, 0.268046),
    "n2d-standard-8": Machine(_GOOGLE, 8, 32, 0.337968),
    "n2-standard-8": Machine(_GOOGLE, 8, 32, 0.388472),
    "c3-standard-8": Machine(_GOOGLE, 8, 32, 0.403216),
    "n2-highmem-8": Machine(_GOOGLE, 8, 64, 0.524056),
    "c6i.2xlarge": Machine(_AMAZON, 8, 16, 0.34),
    "m6a.2xlarge": Machine(_AMAZON, 8, 32, 0.3456),
    "m6i.2xlarge": Machine(_AMAZON, 8, 32, 0.384),
    "m7i.2xlarge": Machine(_AMAZON, 8, 32, 0.4032),
    "r6i.2xlarge": Machine(_AMAZON, 8, 64, 0.504),
    "Standard_D8as_v5": Machine(_AZURE, 8, 32, 0.344),
    "Standard_D8s_v5": Machine(_AZURE, 8, 32, 0.384),
    "Standard_E8s_v5": Machine(_AZURE, 8, 64, 0.504),
}


class Rent(NamedTuple):
    """What a run costs on one type of machine."""

    workers: int  # on one machine: as many as it has vCPUs, or as its memory holds
    hours: float  # of one machine
    cost: float
    prices: str  # from which it follows


def find_machine(name: str, engine: str) -> Machine:
    """Return the machine of this name.

    Raises:
        UserError: it is none of MACHINES, or Dataflow has no such workers.
    """
    if name not in MACHINES:
        near = difflib.get_close_matches(name, MACHINES, n=1, cutoff=0.0)[0]
        raise UserError(f"--machine {name} is not known; the nearest of {', '.join(MACHINES)} is {near!r}")
    machine = MACHINES[name]
    if engine in _DATAFLOW and machine.cloud != _GOOGLE:
        raise UserError(f"--machine {name}: the workers of dataflow are machines of Google, as n2-standard-8")
    return machine


def rent(
    machine: Machine,
    *,
    engine: str,
    core_hours: float,
    shuffle_bytes: float,
    parent_bytes: int,
    worker_bytes: int,
    price: float | None,
) -> Rent:
    """Return what `core_hours` cost on machines of this type.

    Args:
        machine: the type.
        engine: `dataflow` has prices of its own for vCPUs, memory and what it shuffles.
        core_hours: of all stages, a vCPU taken for a core: the rates were measured on vCPUs.
        shuffle_bytes: moved once; Dataflow charges for writing and for reading them.
        parent_bytes: memory that a machine needs once.
        worker_bytes: memory of one worker.
        price: of a vCPU for an hour, instead of those known here.
    """
    workers = max(1, min(machine.vcpus, (machine.memory_gib * _GIB - parent_bytes) // worker_bytes))
    hours = core_hours / workers
    if engine not in _DATAFLOW:
        hourly = machine.hourly if price is None else price * machine.vcpus
        told = f"{hourly:g} an hour" + (f", list price of {LOOKED_UP}, {machine.cloud}" if price is None else "")
        return Rent(workers, hours, hours * hourly, told)
    each = (
        machine.vcpus * _DATAFLOW_VCPU + machine.memory_gib * _DATAFLOW_GIB + _DATAFLOW_BOOT_DISK * _DATAFLOW_DISK_GIB
    )
    hourly = each if price is None else price * machine.vcpus
    shuffle = 2 * shuffle_bytes / _GIB * _DATAFLOW_SHUFFLE_GIB
    listed = f"of {LOOKED_UP}, us-central1"
    told = f"{hourly:.4g} an hour and {shuffle:,.2f} for the shuffle, Dataflow's list prices {listed}"
    if price is not None:
        told = f"{hourly:.4g} an hour, and {shuffle:,.2f} for the shuffle at Dataflow's list price {listed}"
    return Rent(workers, hours, hours * hourly + shuffle, told)
