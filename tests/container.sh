#!/bin/sh
# Builds both images of the Dockerfile without a container engine and without an image registry, and looks at them:
#   sh tests/container.sh DIRECTORY [buildah options, as -v /etc/pip.conf:/etc/pip.conf:ro]
# Debian, root, buildah and debootstrap. Stand-ins: Debian's Python 3.11 for python:3.11-slim, and a boot that does nothing
# for that of the Beam SDK image. Everything else is the Dockerfile as it is; half an hour on two cores, and 12 GB.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
cd "$1"
shift
build() { buildah --root "$PWD/storage" --runroot "$PWD/runroot" "$@"; }
inside() { build run --isolation chroot --user gristmill --env HOME=/home/gristmill "$@"; }

if ! build inspect --type image python:3.11-slim > /dev/null 2>&1; then
  debootstrap --variant=minbase bookworm base
  cp /etc/resolv.conf base/etc/
  chroot base sh -c 'apt-get update && apt-get install -y --no-install-recommends python3.11 python3.11-venv ca-certificates'
  rm -rf base/var/lib/apt/lists/* base/var/cache/apt/*
  ln -sf python3.11 base/usr/bin/python
  ln -sf python3.11 base/usr/bin/python3
  tar -C base -cf base.tar .
  image=$(build from scratch)
  build add "$image" base.tar /
  build config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$image"
  build commit --rm "$image" python:3.11-slim
  mkdir -p sdk/opt/apache/beam
  printf '#!/bin/sh\nexit 1\n' > sdk/opt/apache/beam/boot
  chmod +x sdk/opt/apache/beam/boot
  image=$(build from scratch)
  build add "$image" sdk /
  build commit --rm "$image" apache/beam_python3.11_sdk:2.77.0
fi

# Twice: the same paths, and the same bytes but for bytecode, which holds the time of its source, and machine code.
for target in beam pretrain; do
  for round in 1 2; do
    build bud --isolation chroot --pull=never --layers=false --target $target -t "gristmill-$target:$round" "$@" "$source"
    image=$(build from --pull-never "localhost/gristmill-$target:$round")
    files=$(build mount "$image")
    (cd "$files" && find opt/gristmill home -type f | LC_ALL=C sort) > "$target-$round.paths"
    (cd "$files" && find opt/gristmill -type f ! -name '*.pyc' ! -name '*.nb?' -exec sha256sum {} + | LC_ALL=C sort -k 2) \
      > "$target-$round.sums"
    (cd "$files" && find usr opt -type f -perm /111 \( -name 'gcc*' -o -name 'cc1*' -o -name 'g++*' -o -name ld -o -name make \)) \
      > "$target-$round.compilers"
    du -sm "$files" | cut -f 1 > "$target-$round.megabytes"
    if [ $target = beam ]; then
      code() { find "$files/opt/gristmill/numba" -type f -exec sha256sum {} + | sort | sha256sum; }
      before=$(code)
      inside "$image" -- gristmill run /opt/gristmill/configs/quickstart.yaml --to tokenize --set output=/tmp/quickstart
      inside "$image" -- gristmill check /tmp/quickstart
      test "$before" = "$(code)"  # nothing was compiled: the cache of the image is whole and was used
    else
      inside "$image" -- python -c 'import pipeline.pretrain.train, sys; assert not {"apache_beam", "pydantic"} & set(sys.modules)'
    fi
    build rm "$image" > /dev/null
  done
  diff "$target-1.paths" "$target-2.paths"
  diff "$target-1.sums" "$target-2.sums"
done
build images
head *.compilers *.megabytes
