#!/usr/bin/env bash
# Images under the public names that docker-compose.yaml and the Dockerfile use, where no registry of images can
# be reached: made of this machine's Debian (debootstrap), its Go, and the binaries that `make tools` fetched.
# They stand in for the real ones in `make compose-test`; what is missing (Prometheus, Grafana) is not made.
#
#   deploy/tools/standins.sh            # as root, beside an engine
set -euo pipefail
cd "$(dirname "$0")/../.."
scratch=${STANDINS_DIR:-/var/tmp/aisix-standins}
mkdir -p "$scratch"

image() { # image NAME, Dockerfile on standard input, the context is a folder of the scratch
	docker build --quiet --tag "$1" --file - "$scratch/$2" >/dev/null
	echo "made $1"
}
absent() { ! docker image inspect "$1" >/dev/null 2>&1; }
# The value of an ARG of the Dockerfile; the tag of an image of compose.
arg() { sed -n "s/^ARG $1=//p" deploy/aisix.Dockerfile; }
tag() { grep -o "$1:[^\"} ]*" docker-compose.yaml | head -1; }

if absent aisix-standin-base; then
	[ -d "$scratch/rootfs/etc" ] || debootstrap --variant=minbase --include=busybox,bash,ca-certificates,redis-tools \
		"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$scratch/rootfs" >"$scratch/debootstrap.log"
	ln -sf busybox "$scratch/rootfs/bin/wget"
	ln -sf redis-cli "$scratch/rootfs/usr/bin/valkey-cli"
	tar -C "$scratch/rootfs" --exclude=./var/cache/apt --exclude=./var/lib/apt --exclude=./usr/share/doc --exclude=./proc --exclude=./sys -c . | docker import - aisix-standin-base >/dev/null
	echo "made aisix-standin-base"
fi

base=$(arg BASE_IMAGE)
absent "$base" && docker tag aisix-standin-base "$base" && echo "made $base"

go=$(arg GO_IMAGE)
if absent "$go"; then
	mkdir -p "$scratch/go"
	cp -a "$(go env GOROOT)" "$scratch/go/go"
	GOMODCACHE="$scratch/go/modules" GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" GOFLAGS=-modcacherw go mod download
	rm -rf "$scratch/go/proxy" && mv "$scratch/go/modules/cache/download" "$scratch/go/proxy" && rm -rf "$scratch/go/modules"
	image "$go" go <<-'END'
		FROM aisix-standin-base
		COPY go /usr/local/go
		COPY proxy /proxy
		ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPROXY=file:///proxy GOSUMDB=off GOTOOLCHAIN=local
	END
fi

envoy=$(arg ENVOY_IMAGE)
if absent "$envoy"; then
	mkdir -p "$scratch/envoy" && cp .tools/envoy "$scratch/envoy/"
	image "$envoy" envoy <<-'END'
		FROM aisix-standin-base
		RUN useradd --system --uid 101 --no-create-home envoy && rm -f /bin/wget
		COPY envoy /usr/local/bin/envoy
	END
fi

valkey=$(tag valkey/valkey)
if absent "$valkey"; then
	mkdir -p "$scratch/valkey" && cp .tools/valkey-server "$scratch/valkey/"
	image "$valkey" valkey <<-'END'
		FROM aisix-standin-base
		RUN useradd --system --uid 999 --no-create-home valkey && mkdir /data && chown valkey:valkey /data
		COPY valkey-server /usr/local/bin/valkey-server
		WORKDIR /data
		VOLUME /data
	END
fi
