/** One file of a release of https://github.com/nats-io/nats-server/releases: a .tar.gz with `nats-server` in one folder. */
export interface NatsRelease {
  readonly version: string;
  readonly url: string;
  readonly sha256: string;
}

const release = (version: string, platform: string, sha256: string): NatsRelease => ({
  version,
  url: `https://github.com/nats-io/nats-server/releases/download/v${version}/nats-server-v${version}-${platform}.tar.gz`,
  sha256,
});

/**
 * Pinned releases by `process.platform`-`process.arch`. The checksums are those that the makers publish for their own image:
 * https://github.com/nats-io/nats-docker/blob/629985321b0b00d2c39c853782c776f91f3a3189/2.15.x/alpine3.22/Dockerfile
 * A platform that is not here builds nats-server with Go.
 */
export const natsReleases: Readonly<Record<string, NatsRelease>> = {
  'linux-x64': release('2.15.0', 'linux-amd64', '5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92'),
  'linux-arm64': release('2.15.0', 'linux-arm64', 'cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112'),
};
