# Try it by hand, from a folder that holds kubernetes/*.yaml and key.json:
#
#   docker build -t deploy-model-action .
#   docker run --rm -v "$PWD:/github/workspace" -w /github/workspace \
#     -e GOOGLE_APPLICATION_CREDENTIALS=/github/workspace/key.json \
#     -e INPUT_CLUSTER_NAME=projects/P/locations/L/clusters/C \
#     -e INPUT_REGISTRY_HOST=HOST/PATH -e INPUT_SHA=TAG deploy-model-action
#
# The base images are arguments, so that a mirror or a digest can take their place.
ARG BUILD_IMAGE=golang:1.26
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:latest

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY main.go ./
COPY pkg ./pkg
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /deploy-model-action .

# Root, not nonroot: the runner creates GITHUB_OUTPUT, the job summary and the
# credentials file for its own user, and its documentation forbids USER.
# Nothing else is in the image: no shell, no package manager, no tool.
FROM ${BASE_IMAGE}
COPY --from=build /deploy-model-action /deploy-model-action
ENTRYPOINT ["/deploy-model-action"]
