# One image a process: docker build --target gateway . (or ingest, rag, notifier; docker compose builds all four).
# The gateway's image also has the programs that are run by hand: migrate and operator.
#
# The base is pinned by minor version, so that a rebuild brings Debian's and Node's patches. For the same bytes each time
# put the digest that `docker buildx imagetools inspect` prints behind the tag: @sha256:…

FROM node:24.21-bookworm-slim AS base
WORKDIR /app

# Only what decides which packages there are: a changed source does not install them again, because BuildKit looks at the
# content of what is copied from another stage.
FROM base AS manifests
COPY . .
RUN find . -type f ! -name package.json ! -name package-lock.json ! -name .npmrc -delete && find . -type d -empty -delete

# Install scripts do not run: what is native here comes as packages of its own.
FROM base AS workspace
COPY --from=manifests /app ./

# Only the tools of the root: SWC compiles each file by itself, without what it imports.
FROM workspace AS build
ENV NX_DAEMON=false NX_TUI=false
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --workspaces=false
COPY . .
RUN node_modules/.bin/nx run-many -t build --output-style=static-failures-only
RUN find apps libs -type d \( -name src -o -name node_modules \) -prune -exec rm -r {} +

# For each app the same three steps: npm installs what this one workspace needs, with links to the workspaces it needs;
# the linked ones are taken out of the build; the image gets both.

# TypeScript is there for a plugin of @nestjs/swagger that the product does not use.
FROM workspace AS gateway-packages
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --omit=dev --workspace=@answerline/gateway \
    && rm -r node_modules/typescript node_modules/.bin/tsc node_modules/.bin/tsserver
FROM gateway-packages AS gateway-built
COPY --from=build /app/apps ./apps
COPY --from=build /app/libs ./libs
RUN mkdir image && cp -r --parents $(readlink node_modules/@answerline/* | cut -c7-) image

FROM workspace AS ingest-packages
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --omit=dev --workspace=@answerline/ingest
FROM ingest-packages AS ingest-built
COPY --from=build /app/apps ./apps
COPY --from=build /app/libs ./libs
RUN mkdir image && cp -r --parents $(readlink node_modules/@answerline/* | cut -c7-) image

# What is removed are embedding functions that LanceDB offers (330 MB); the product brings its own vectors.
FROM workspace AS rag-packages
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --omit=dev --workspace=@answerline/rag \
    && rm -r node_modules/@huggingface node_modules/@img node_modules/onnxruntime-* node_modules/sharp
FROM rag-packages AS rag-built
COPY --from=build /app/apps ./apps
COPY --from=build /app/libs ./libs
RUN mkdir image && cp -r --parents $(readlink node_modules/@answerline/* | cut -c7-) image

FROM workspace AS notifier-packages
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --omit=dev --workspace=@answerline/notifier
FROM notifier-packages AS notifier-built
COPY --from=build /app/apps ./apps
COPY --from=build /app/libs ./libs
RUN mkdir image && cp -r --parents $(readlink node_modules/@answerline/* | cut -c7-) image

# The files belong to root: the process can write to its data folder only, and needs to only where it keeps an index.
FROM base AS runtime
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Answerline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/app/data
RUN install -d -o 1000 -g 1000 data
USER 1000:1000
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/live').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]

FROM runtime AS gateway
LABEL org.opencontainers.image.title="answerline-gateway" \
      org.opencontainers.image.description="Meta's webhook and the management API; the programs migrate and operator"
COPY --from=gateway-packages /app/node_modules ./node_modules
COPY --from=gateway-built /app/image ./
CMD ["node", "apps/gateway/dist/main.js"]

FROM runtime AS ingest
LABEL org.opencontainers.image.title="answerline-ingest" \
      org.opencontainers.image.description="Stores what webhooks bring, once each"
COPY --from=ingest-packages /app/node_modules ./node_modules
COPY --from=ingest-built /app/image ./
CMD ["node", "apps/ingest/dist/main.js"]

FROM runtime AS rag
LABEL org.opencontainers.image.title="answerline-rag" \
      org.opencontainers.image.description="Answers turns and indexes the knowledge base"
EXPOSE 5000
COPY --from=rag-packages /app/node_modules ./node_modules
COPY --from=rag-built /app/image ./
CMD ["node", "apps/rag/dist/main.js"]

FROM runtime AS notifier
LABEL org.opencontainers.image.title="answerline-notifier" \
      org.opencontainers.image.description="Sends replies over Meta's Graph API and publishes events"
COPY --from=notifier-packages /app/node_modules ./node_modules
COPY --from=notifier-built /app/image ./
CMD ["node", "apps/notifier/dist/main.js"]
