# SPDX-License-Identifier: ISC
# Sourced by quickstart and run-tests: which Debian packages are needed, and
# why, and how they get installed.

# what it takes to build Pinnace
BUILD_PACKAGES="
build-essential:compiler
autoconf:makes-configure
automake:makes-Makefile.in
pkg-config:finds-libraries
libssl-dev:OpenSSL
libbsd-dev:queue.h,strlcpy
libldns-dev:DNS-packets
libevent-dev:event-loop
libpcre2-dev:patterns
libidn2-dev:international-domains
libjansson-dev:JSON
libseccomp-dev:sandbox
libncurses-dev:show-top
check:unit-tests
"
# what the quick start shows itself with
QUICK_PACKAGES="
swaks:submits-the-message
"
# what the tests talk to and with
TEST_PACKAGES="
clang:second-compiler
libclang-rt-14-dev:its-sanitizers
python3:test-scripts
python3-dkim:verifier
python3-aiosmtpd:SMTP-peer
nsd:authoritative-name-server
unbound:resolver
bind9-dnsutils:dig
swaks:client
s-nail:client
msmtp:client
git:fresh-clone
spin:checks-the-model-of-the-spool
strace:counts-system-calls
procps:process-lists
iproute2:network-namespaces
tmux:a-terminal-for-show-top
"

names_of() {
	for p in $1; do echo "${p%%:*}"; done
}

# install_missing LIST: says what is missing and why, and installs it.
install_missing() {
	missing=
	for p in $1; do
		name=${p%%:*}
		if ! dpkg-query -W -f '${db:Status-Status}' "$name" \
		    2>/dev/null | grep -qx installed; then
			missing="$missing $name"
			echo "  needs $name ($(echo "${p#*:}" | tr - ' '))"
		fi
	done
	[ -z "$missing" ] && return 0
	if [ "$(id -u)" = 0 ]; then
		sudo=
	elif command -v sudo >/dev/null; then
		sudo=sudo
	else
		echo "These packages are missing and there is no sudo:$missing" >&2
		echo "Install them as root and run this again." >&2
		return 1
	fi
	echo "Installing:$missing"
	export DEBIAN_FRONTEND=noninteractive
	$sudo apt-get update -qq &&
	    $sudo apt-get install -y -qq --no-install-recommends $missing \
	    >/tmp/pinnace-apt.$$ 2>&1 || {
		tail -20 /tmp/pinnace-apt.$$ >&2
		rm -f /tmp/pinnace-apt.$$
		return 1
	}
	rm -f /tmp/pinnace-apt.$$
}
