# docker build -t llm-proxy .
# docker run --env-file .env -e HOST=0.0.0.0 -p 8080:8080 llm-proxy
FROM debian:12-slim AS build
RUN apt-get update -q && apt-get install -qy --no-install-recommends make
WORKDIR /src
COPY Makefile meson.build ./
COPY contrib contrib
COPY include include
COPY man man
COPY nginx nginx
COPY src src
COPY tests tests
RUN make deps && make install PREFIX=/usr DESTDIR=/image

FROM debian:12-slim
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends ca-certificates \
        libcurl4 libevent-core-2.1-7 libjansson4 libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /image/ /
USER 65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["llm-proxyd"]
