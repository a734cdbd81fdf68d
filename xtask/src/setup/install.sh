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
temporary=
if [ ! -e "$policy" ] || grep -qxF "$mark" "$policy"; then
    temporary=$policy
fi

finish() {
    rm -f $temporary
    for service in $services; do
        if [ -e "/etc/init.d/$service" ]; then
            update-rc.d "$service" disable
        fi
    done
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

if [ -n "$temporary" ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$temporary"
    chmod 755 "$temporary"
fi
apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install --no-install-recommends --no-remove -- "$@"
