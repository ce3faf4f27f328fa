#!/usr/bin/env bash
# Builds a release of HEAD twice, in two folders, once with this machine's build cache and once with none, and compares
# every byte. Then runs what was built for arm64, under qemu where this machine has it. `make release-try` runs it; $1 is
# go build's -pgo.
set -euo pipefail
cd "$(dirname "$0")/../../.."
pgo=${1:-auto}
commit=$(git rev-parse HEAD)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for n in one two/deeper; do
	git clone --quiet --shared . "$work/$n"
	git -C "$work/$n" checkout --quiet "$commit"
	cache=$(go env GOCACHE)
	[ $n = one ] || cache=$work/cache
	(cd "$work/$n/deploy/tools/release" && go build -o "$work/release" . && GOCACHE=$cache nice "$work/release" -root ../../.. -out "$work/out/$n" -pgo="$pgo")
done
diff "$work/out/one/SHA256SUMS" "$work/out/two/deeper/SHA256SUMS"
echo "the same, $(wc -l <"$work/out/one/SHA256SUMS") files:"
grep -E 'tar.gz|index.json' "$work/out/one/SHA256SUMS"
(cd "$work/out/one" && sha256sum --quiet -c SHA256SUMS)

case $(uname -m) in
x86_64) native=amd64 ;;
aarch64) native=arm64 ;;
*) native=none ;;
esac
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ $native = arm64 ]; then qemu="env"; fi
if [ -z "$qemu" ] || [ $native = none ]; then
	echo "not run: the arm64 binaries (no qemu-aarch64 here: apt-get install qemu-user)"
	exit 0
fi
bin=$work/out/one
for name in extproc admin bedrocksim; do
	"$qemu" "$bin/linux-arm64/$name" -h 2>&1 | grep -q Usage || { echo "$name for arm64 does not run" >&2; exit 1; }
done
"$qemu" "$bin/linux-arm64/extproc" -version
diff <("$bin/linux-$native/extproc" -bootstrap) <("$qemu" "$bin/linux-arm64/extproc" -bootstrap)
"$qemu" "$bin/linux-arm64/admin" -create-master-key "$work/master.key"
[ "$(stat -c %a "$work/master.key")" = 600 ]
echo "the arm64 binaries run"
