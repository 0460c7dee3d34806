"""Machines to rent: workers by vCPUs or memory, list prices, and those of Dataflow."""

import pytest

from pipeline.machines import MACHINES, Machine, rent

NEEDS = {"core_hours": 80.0, "shuffle_bytes": 0.0, "parent_bytes": 450 << 20, "worker_bytes": 420 << 20}


def test_each_machine_holds_a_worker_on_each_vcpu():
    """Of the types that are known memory limits none, and a vCPU costs three to seven cents an hour."""
    for machine in MACHINES.values():
        assert rent(machine, engine="local", price=None, **NEEDS).workers == machine.vcpus
        assert 0.03 < machine.hourly / machine.vcpus < 0.07


def test_memory_limits_the_workers():
    """A machine with less memory than a worker on each vCPU needs takes longer and costs more."""
    large, small = Machine("cloud", 8, 32, 0.4), Machine("cloud", 8, 3, 0.4)
    enough, short = (rent(machine, engine="local", price=None, **NEEDS) for machine in (large, small))
    assert (enough.workers, enough.hours) == (8, 10)
    assert enough.cost == pytest.approx(4.0)
    assert (short.workers, short.hours) == (6, 80 / 6)
    assert short.cost == pytest.approx(0.4 * 80 / 6)


def test_dataflow_has_prices_of_its_own():
    """vCPUs, memory and disk by the hour, and what the service shuffles, once written and once read."""
    needs = {**NEEDS, "shuffle_bytes": 100 * 2**30}
    found = rent(MACHINES["n2-standard-8"], engine="dataflow", price=None, **needs)
    assert found.cost == pytest.approx(10 * (8 * 0.056 + 32 * 0.003557 + 25 * 0.000054) + 200 * 0.011)
    assert rent(MACHINES["n2-standard-8"], engine="local", price=None, **needs).cost == pytest.approx(3.88472)
    paid = rent(MACHINES["n2-standard-8"], engine="DataflowRunner", price=0.05, **needs)
    assert paid.cost == pytest.approx(80 * 0.05 + 200 * 0.011)
    assert paid.prices.startswith("0.4 an hour, and 2.20 for the shuffle at Dataflow's list price")
    assert found.prices.endswith("for the shuffle, Dataflow's list prices of November 2026, us-central1")
