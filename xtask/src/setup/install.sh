# Run as root: sh -c THIS install "SERVICE…" PACKAGE…
# Installs the packages. Their services are neither started now nor at the next boot.
set -eu
export DEBIAN_FRONTEND=noninteractive
services=$1
shift

# Maintainer scripts ask this program before they start a service; 101 forbids it. One that is there is somebody's
# decision and stays, unless an interrupted run of this script left it.
policy=/usr/sbin/policy-rc.d
mark='# made by `cargo xtask setup` for the time of an installation'
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
fi

apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install --no-install-recommends --no-remove -- "$@"

for service in $services; do
    update-rc.d "$service" disable
done
