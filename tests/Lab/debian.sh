# shellcheck shell=bash
# What rootfs.sh, guest.sh and vm-images.sh need of Debian: tools on this machine, packages, trees of packages. Sourced, never
# run. All of it comes from wherever this machine's own apt takes its packages. Whoever sources it has `say`, `die` and
# `build_limit_s`, and hashes this file with its own.

install_tools() { # COMMAND:PACKAGE...
  local missing=() pair apt=(timeout "$build_limit_s" apt-get -o DPkg::Lock::Timeout=300 -q -y)
  for pair; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  [ "$(id -u)" = 0 ] || die "these packages are missing and only root can install them: ${missing[*]}"
  command -v apt-get >/dev/null || die "these packages are missing and this machine has no apt-get: ${missing[*]}"
  say "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2 && return 0
  # The lists of a fresh machine are often empty: fetch them and try once more.
  "${apt[@]}" update >&2 || die "apt-get update failed"
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2 || die "apt-get could not install ${missing[*]}"
}

fetch() { # PACKAGE INTO: unpacked below INTO, not installed; uses $partial
  local name
  mkdir -p "$partial/packages"
  (cd "$partial/packages" && timeout "$build_limit_s" apt-get -q -o APT::Sandbox::User=root download "$1" >&2) || die "apt-get could not fetch $1"
  name=$(find "$partial/packages" -name "${1}_*.deb") && [ -n "$name" ] || die "apt-get fetched no $1"
  dpkg-deb -x "$name" "$2"
}

fetch_kernel() { # INTO: Debian's kernel for virtual machines; sets kernel_version
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
  [ -n "$package" ] || die "this machine's apt sources have no linux-image-cloud-amd64"
  fetch "$package" "$1"
  # shellcheck disable=SC2034 # for the caller
  kernel_version=$(ls "$1/lib/modules")
}

copy_modules() { # KERNEL-TREE VERSION INTO NAME...: uncompressed, and their order in INTO/order
  local tree=$1 version=$2 into=$3 name file; shift 3
  for name; do
    file=$(find "$tree/lib/modules/$version" -name "$name.ko*") && [ -n "$file" ] || die "kernel $version has no module $name"
    case $file in *.xz) xz -dc "$file" >"$into/$name.ko";; *) cp "$file" "$into/$name.ko";; esac
    echo "$name.ko" >>"$into/order"
  done
}

bootstrap() { # INTO PACKAGES OPTION...: a tree of these packages (a list with commas) and what they depend on
  local into=$1 packages=$2 sources=() options=() file key value suite; shift 2
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
    [ -s "$file" ] && sources+=("$file")
  done
  [ ${#sources[@]} -gt 0 ] || die "this machine has no apt sources in /etc/apt"
  # Settings of this machine without which its sources may not be readable.
  for key in Acquire::Check-Valid-Until Acquire::http::Proxy Acquire::https::Proxy; do
    value=; eval "$(apt-config shell value "$key")"
    [ -n "$value" ] && options+=("--aptopt=$key \"$value\"")
  done
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$suite" ] || die "/etc/os-release names no VERSION_CODENAME"
  timeout "$build_limit_s" mmdebstrap --quiet --variant=minbase --mode=root --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' ${options[@]+"${options[@]}"} \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$@" "$suite" "$into" "${sources[@]}" </dev/null >&2 || die "mmdebstrap failed; its messages are above"
}

forget_sources() { # TREE: what this machine needs to reach its archives is no business of who boots from the tree
  rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/var/lib/apt/lists/* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/apt/auth.conf.d/*
}
