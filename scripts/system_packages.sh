#!/usr/bin/env bash
# Installs the Debian packages that a window on a virtual screen needs, if this user is allowed to;
# otherwise names the missing ones in one line. Does nothing if nothing is missing.
set -euo pipefail

packages=(
    git make python3-venv xvfb xauth
    libgl1 libegl1 libglx-mesa0 libgl1-mesa-dri libdbus-1-3 libxkbcommon-x11-0
    libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
    libxcb-render-util0 libxcb-shape0 libxcb-xfixes0 libxcb-xinerama0 libxcb-xinput0
)

command -v dpkg-query >/dev/null || exit 0

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "System packages are missing. Please run: sudo apt-get install ${missing[*]}" >&2
    exit 0
fi

echo "Installing system packages: ${missing[*]}"
if ! log=$({ "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"; } 2>&1); then
    echo "$log" >&2
    echo "apt-get failed. Please install: ${missing[*]}" >&2
fi
