# The images of admin, extproc and the Bedrock simulator, one target each. From the root of the repository:
# docker build -f deploy/aisix.Dockerfile --target extproc .
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/ ./cmd/admin ./cmd/extproc ./cmd/bedrocksim

# A new volume takes over the owner and the mode of the folder where it is mounted.
FROM alpine:3.22 AS base
RUN mkdir -m 0700 /keys /spool && chown 65532:65532 /keys /spool
USER 65532:65532

FROM base AS bedrocksim
COPY --from=build /out/bedrocksim /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/bedrocksim"]

FROM base AS extproc
COPY --from=build /out/extproc /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/extproc"]

FROM base AS admin
COPY --from=build /out/admin /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/admin"]
