# docker build -t llm-proxy .
# docker run -p 8080:8080 --env-file .env llm-proxy
#
# It needs no rights and no file of its own, and takes secrets from files:
#
#     docker run -p 8080:8080 --read-only --tmpfs /run --cap-drop=ALL \
#         --security-opt no-new-privileges -e TOKENS_FILE=/run/secrets/tokens \
#         -v ./tokens.json:/run/secrets/tokens:ro llm-proxy
#
# User 65532 must be able to read them. PORT stays as it is: -p chooses the
# one outside. Running requests get DRAIN_TIMEOUT to end: "docker stop -t 70".
# To build on an image that stays the same, name its digest:
# --build-arg BASE=debian:12-slim@sha256:...
ARG BASE=debian:12-slim

FROM ${BASE} AS build
RUN apt-get update -q && apt-get install -qy --no-install-recommends make
WORKDIR /src
COPY Makefile ./
COPY contrib/deps.sh contrib/
RUN make deps
COPY meson.build meson_options.txt ./
COPY contrib contrib
COPY include include
COPY man man
COPY nginx nginx
COPY src src
RUN make install PREFIX=/usr DESTDIR=/image SETUP=-Dtests=false

FROM ${BASE}
LABEL org.opencontainers.image.title=llm-proxy \
      org.opencontainers.image.description="Keys, limits and one address in front of Ollama and vLLM" \
      org.opencontainers.image.version=0.1.0 \
      org.opencontainers.image.licenses=MIT
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends ca-certificates \
        libcurl4 libevent-core-2.1-7 libhiredis0.14 libjansson4 libssl3 \
        libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
# Without a file in /etc: the settings come from the environment.
COPY --from=build /image/usr/ /usr/
# What -p hands in does not come from the container's own loopback.
ENV HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s \
    CMD ["llm-proxyd", "--healthcheck", "http://127.0.0.1:8080"]
ENTRYPOINT ["llm-proxyd"]
