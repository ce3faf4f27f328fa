# Build from the root of the repository: docker build -f deploy/admin.Dockerfile .
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /out/admin ./cmd/admin

FROM alpine:3.22
RUN adduser -D -H -u 65532 aisix && mkdir -m 0700 /keys && chown aisix /keys
COPY --from=build /out/admin /usr/local/bin/admin
USER aisix
ENTRYPOINT ["/usr/local/bin/admin"]
