# The images of admin, extproc, Envoy with our binary as its parent, and the Bedrock simulator, one target each. From
# the root of the repository: docker build -f deploy/aisix.Dockerfile --target extproc .
#
# The three below may be your own, or these by digest, as the release workflow names them. BASE_IMAGE needs sh, wget
# and the public CAs.
ARG GO_IMAGE=golang:1.26-alpine
ARG BASE_IMAGE=alpine:3.22
ARG ENVOY_IMAGE=envoyproxy/envoy:v1.40.0

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
# What -version says, and the labels: the same build makes the same bytes.
ARG VERSION=dev COMMIT=unknown DATE=unknown
ARG STAMP=aisix/cmd/internal/version
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -X $STAMP.Version=$VERSION -X $STAMP.Commit=$COMMIT -X $STAMP.Date=$DATE" \
    -o /out/ ./cmd/admin ./cmd/extproc ./cmd/bedrocksim

# A new volume takes over the owner and the mode of the folder where it is mounted.
FROM ${BASE_IMAGE} AS base
RUN mkdir -m 0700 /keys /spool && mkdir -m 0750 /secrets /secrets/admin /secrets/extproc /secrets/valkey && \
    chown -R 65532:65532 /keys /spool /secrets
USER 65532:65532
ARG VERSION=dev COMMIT=unknown DATE=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${DATE}"

FROM base AS bedrocksim
LABEL org.opencontainers.image.title="AISIX AI Gateway: Bedrock simulator"
COPY --from=build /out/bedrocksim /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bedrocksim"]

FROM base AS extproc
LABEL org.opencontainers.image.title="AISIX AI Gateway: extproc, the data plane"
COPY --from=build /out/extproc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/extproc"]

FROM base AS admin
LABEL org.opencontainers.image.title="AISIX AI Gateway: the Admin API"
COPY --from=build /out/admin /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/admin"]

# At each start Envoy's start file is made from config.yaml and the environment, and no stream is cut by its end.
FROM ${ENVOY_IMAGE} AS envoy
ARG VERSION=dev COMMIT=unknown DATE=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${DATE}"
LABEL org.opencontainers.image.title="AISIX AI Gateway: Envoy"
COPY --from=build /out/extproc /usr/local/bin/
USER envoy
ENTRYPOINT ["/usr/local/bin/extproc", "-run-envoy", "/usr/local/bin/envoy"]
