#!/usr/bin/env bash
# Installs what a build needs: Debian packages, and LibTorch unpacked from PyPI's wheel (no Python packages at run time).
#
#   scripts/setup.sh          packages and the CPU LibTorch (0.55 GB to download, once)
#   scripts/setup.sh --cuda   also the CUDA libraries of the wheel (2.7 GB more); needs a CUDA toolkit with nvcc
#
# LibTorch goes to $SSL4RL_CACHE (default: $XDG_CACHE_HOME/ssl4rl or ~/.cache/ssl4rl), shared by all clones.
# With LIBTORCH=DIR (a directory with include/ and lib/) your own LibTorch is used and nothing is downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."

flavour=cpu
for argument in "$@"; do
    case "$argument" in
        --cuda) flavour=cuda ;;
        -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "setup: unknown option $argument (try --help)" >&2; exit 2 ;;
    esac
done

packages=(g++ cmake ninja-build ccache git ca-certificates unzip python3 python3-pip
          libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev libjpeg-dev libsentencepiece-dev libicu-dev libssl-dev
          nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev libyaml-cpp-dev libxlsxwriter-dev libgloo-dev libgtest-dev libbenchmark-dev)

install_packages() {
    command -v dpkg-query >/dev/null || { echo "setup: not a Debian system; install the equivalents of: ${packages[*]}" >&2; return; }
    local missing=() package
    for package in "${packages[@]}"; do
        # Another interpreter or compiler on the PATH serves as well as Debian's.
        case "$package" in
            python3|python3-pip) python3 -m pip --version >/dev/null 2>&1 && continue ;;
            g++|cmake|git|unzip|ccache) command -v "$package" >/dev/null && continue ;;
            ninja-build) command -v ninja >/dev/null && continue ;;
        esac
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            sudo=(sudo)
        else
            echo "setup: these Debian packages are missing; run this as root, then start again:" >&2
            echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
            exit 1
        fi
    fi
    echo "setup: installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# unpack_libtorch TARGET REQUIREMENTS: download the wheels and unpack what C++ needs; TARGET appears whole or not at all.
unpack_libtorch() {
    local target=$1 requirements=$2 work
    mkdir -p "$(dirname "$target")"
    work=$(mktemp -d "$(dirname "$target")/.unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "setup: downloading LibTorch ($(basename "$requirements" .txt)) to $target"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
        --python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
        --platform manylinux_2_25_x86_64 --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        -d "$work/wheels" -r "$requirements"
    local wheel
    for wheel in "$work"/wheels/*.whl; do
        case "$(basename "$wheel")" in
            torch-*)
                local libraries=('torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' 'torch/lib/libgomp*' 'torch/lib/libshm*')
                [ "$flavour" = cuda ] && libraries=('torch/lib/*.so*')
                unzip -q "$wheel" "${libraries[@]}" 'torch/include/*' 'torch/share/cmake/*' -d "$work/tree" ;;
            *) unzip -q "$wheel" 'nvidia/*' -d "$work/tree" ;;
        esac
        rm "$wheel"
    done
    mv "$work/tree" "$target"
    rm -rf "$work"
    trap - EXIT
}

install_packages
[ -n "${LIBTORCH:-}" ] && { echo "setup: using LIBTORCH=$LIBTORCH"; exit 0; }
if [ "$(uname -m)" != x86_64 ]; then
    echo "setup: no LibTorch wheel is known for $(uname -m); unpack one yourself and set LIBTORCH=DIR" >&2
    exit 1
fi
cache=${SSL4RL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ssl4rl}
target=$cache/libtorch-2.11.0-$flavour
[ -d "$target" ] || unpack_libtorch "$target" "scripts/libtorch-$flavour.txt"
echo "setup: done (LibTorch in $target)"
