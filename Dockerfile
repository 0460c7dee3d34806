# syntax=docker/dockerfile:1
# Two images from one file:
#   docker build --target beam     -t gristmill-beam .       launcher and worker (Dataflow, Flink, Spark); no torch
#   docker build --target pretrain -t gristmill-pretrain .   the trainer; no Beam
# Python minor and Beam version must equal those of the machine that submits.

FROM apache/beam_python3.11_sdk:2.77.0 AS beam-sdk

FROM python:3.11-slim AS beam-build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY transforms transforms
RUN python -m venv /opt/gristmill \
 && /opt/gristmill/bin/pip install --no-cache-dir --constraint requirements.lock '.[dataflow,gcs,s3]' \
 && /opt/gristmill/bin/pip check

FROM python:3.11-slim AS beam
# Beam's boot would make an environment of its own that does not see this one, and may not write where it makes it.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    PATH=/opt/gristmill/bin:$PATH \
    NUMBA_CACHE_DIR=/opt/gristmill/numba \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_NUM_THREADS=1 \
    OMP_NUM_THREADS=1 \
    ARROW_IO_THREADS=2 \
    TOKENIZERS_PARALLELISM=false
COPY --from=beam-sdk /opt/apache/beam /opt/apache/beam
COPY --from=beam-build /opt/gristmill /opt/gristmill
COPY configs /opt/gristmill/configs
# Kernels are compiled into the image for x86-64-v3; the plain generic target is 3.5 times slower.
# numba skips a cache directory that it cannot write, so it belongs to the user who reads it.
RUN useradd --create-home gristmill && mkdir -p "$NUMBA_CACHE_DIR" && chown gristmill "$NUMBA_CACHE_DIR"
USER gristmill
RUN gristmill warm
WORKDIR /home/gristmill
# boot must be the last thing that runs on a worker; as a launcher: docker run --entrypoint gristmill IMAGE run CONFIG
ENTRYPOINT ["/opt/apache/beam/boot"]

FROM python:3.11-slim AS pretrain-build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY transforms transforms
# Only what the trainer imports: no Beam, no datasets, no pydantic.
RUN python -m venv /opt/gristmill \
 && /opt/gristmill/bin/pip install --no-cache-dir --constraint requirements.lock \
      torch safetensors numpy pyarrow tokenizers \
 && /opt/gristmill/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim AS pretrain
ENV PATH=/opt/gristmill/bin:$PATH
# No build tools but these: what torch compiles for a GPU is launched by C that Triton compiles where it runs; 200 MB.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=pretrain-build /opt/gristmill /opt/gristmill
RUN useradd --create-home gristmill
USER gristmill
WORKDIR /home/gristmill
ENTRYPOINT ["python", "-m", "pipeline.pretrain"]
