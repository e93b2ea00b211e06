# Sourced by run.sh and test.sh: the .NET SDK that global.json asks for, from this machine, else from the packages of its distribution, else the official archive.
#   sdk_ready   puts it into PATH; says what it does on stderr, and on failure what a person can do
# The archive is checked against the SHA-512 that its publisher names, and lies outside the clone: ${AGENTMETAL_CACHE:-~/.cache/agentmetal}/dotnet-VERSION.
# DOTNET_FEED is where release metadata and archives come from; a test, or a site with a mirror, names its own.

sdk_root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
sdk_feed=${DOTNET_FEED:-https://builds.dotnet.microsoft.com/dotnet}

sdk_wanted() { sed -nE 's/.*"version": *"([0-9.]+)".*/\1/p' "$sdk_root/global.json"; }

# Whether a dotnet that is found runs with global.json.
sdk_found() { (cd "$sdk_root" && command -v dotnet >/dev/null && dotnet --version >/dev/null 2>&1); }

sdk_use() { # DIRECTORY
  export DOTNET_ROOT=$1 PATH=$1:$PATH
  # A small system has no ICU, and nothing here needs it.
  if ! ldconfig -p 2>/dev/null | grep -q 'libicuuc\.so'; then export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1; fi
}

sdk_fetch() { # URL FILE
  if command -v curl >/dev/null; then curl -fsSL --retry 2 --connect-timeout 20 --max-time 1200 -o "$2" "$1"
  elif command -v wget >/dev/null; then wget -q --tries=3 --connect-timeout=20 --read-timeout=300 -O "$2" "$1"
  else echo "neither curl nor wget is installed" >&2; return 1; fi
}

# From the distribution, where it has the package and this is root.
sdk_packaged() { # CHANNEL
  local package=dotnet-sdk-$1
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [0-9]' || return 1
  echo "the .NET SDK is missing: installing $package from the packages of this distribution" >&2
  DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -o DPkg::Lock::Timeout=300 -q -y install --no-install-recommends "$package" >&2 && hash -r && sdk_found
}

sdk_archived() { # VERSION CHANNEL
  local version=$1 cache=${AGENTMETAL_CACHE:-${HOME:-/root}/.cache/agentmetal} rid partial entry url hash
  case $(uname -m) in x86_64) rid=linux-x64;; aarch64) rid=linux-arm64;; *) echo "there is no archive for $(uname -m)" >&2; return 1;; esac
  local target=$cache/dotnet-$version
  if [ ! -x "$target/dotnet" ]; then
    mkdir -p "$cache" && partial=$(mktemp -d "$cache/partial.XXXXXX") || return 1
    sdk_fetch "$sdk_feed/release-metadata/$2/releases.json" "$partial/releases.json" || { rm -rf "$partial"; return 1; }
    # {"name": "dotnet-sdk-linux-x64.tar.gz", "rid": ..., "url": ".../VERSION/...", "hash": SHA-512}
    entry=$(tr -d '\n\r\t ' <"$partial/releases.json" | grep -oE "\{\"name\":\"dotnet-sdk-$rid\.tar\.gz\"[^}]*\}" | grep -F "/$version/" | sed -n 1p)
    url=$(sed -nE 's/.*"url":"([^"]+)".*/\1/p' <<<"$entry") hash=$(sed -nE 's/.*"hash":"([0-9a-fA-F]{128})".*/\1/p' <<<"$entry")
    if [ -z "$url" ] || [ -z "$hash" ]; then
      echo "$sdk_feed names no SDK $version for $rid with a SHA-512" >&2; rm -rf "$partial"; return 1
    fi
    echo "the .NET SDK $version of global.json is missing: fetching $url (about 230 MB, once)" >&2
    sdk_fetch "$url" "$partial/sdk.tar.gz" || { rm -rf "$partial"; return 1; }
    if ! echo "${hash,,}  $partial/sdk.tar.gz" | sha512sum -c --status -; then
      echo "$url is not what its publisher names (SHA-512): it is not used" >&2; rm -rf "$partial"; return 1
    fi
    mkdir "$partial/dotnet" && tar -xzf "$partial/sdk.tar.gz" -C "$partial/dotnet" || { rm -rf "$partial"; return 1; }
    # Another run may have been quicker.
    mv -T "$partial/dotnet" "$target" 2>/dev/null || [ -x "$target/dotnet" ] || { rm -rf "$partial"; return 1; }
    rm -rf "$partial"
  fi
  sdk_use "$target" && sdk_found
}

sdk_ready() {
  local version channel
  sdk_found && return
  version=$(sdk_wanted) channel=$(sdk_wanted | sed -E 's/^([0-9]+\.[0-9]+)\..*/\1/')
  sdk_packaged "$channel" && return
  sdk_archived "$version" "$channel" && return
  cat >&2 <<END
error: the .NET SDK $version of global.json is missing, and could not be had. Either of these installs it; then run this again:
  apt-get install dotnet-sdk-$channel     (where the distribution has it)
  mkdir -p ~/.dotnet && curl -fsSL $sdk_feed/Sdk/$version/dotnet-sdk-$version-linux-x64.tar.gz | tar -xz -C ~/.dotnet && export PATH=~/.dotnet:\$PATH
END
  return 1
}
