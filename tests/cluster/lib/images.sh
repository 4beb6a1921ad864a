# shellcheck shell=bash
# The images: PostgreSQL 17 and 15 under the names of the official ones, so that pgset's defaults are found without a
# registry; stand-ins for the Crunchy images of the 2017 example; busybox, which the storage provisioner runs; pause, which holds every pod together.

PAUSE_IMAGE=localhost/pause:1
BUSYBOX_IMAGE=docker.io/library/busybox:1

# Each has another contract: no PG_MODE=set yet; set by patching the label, the primary's alone or every member's; set by
# writing the whole pod back; no set any more.
CRUNCHY_TAGS=(centos7-9.5-1.2.6 centos7-9.6-1.2.8 centos7-10.4-2.0.0 centos7-11.1-2.3.0 centos7-12.2-4.5.0)
CRUNCHY_IMAGE=docker.io/crunchydata/crunchy-postgres

IMAGES=$CACHE/images
POSTGRES_RECIPE=$(content_key "$HERE"/{postgres-image.sh,image.py})

image_name() {
  case $1 in
    pause) echo "$PAUSE_IMAGE" ;;
    crunchy) echo "$CRUNCHY_IMAGE:${CRUNCHY_TAGS[0]}" ;;
    busybox) echo "$BUSYBOX_IMAGE" ;;
    *) echo "docker.io/library/${1/-/:}" ;;
  esac
}

# image_file IMAGE: where the cache has it, or will.
image_file() {
  case $1 in
    pause) echo "$IMAGES/pause-$(content_key "$HERE/pause.go" "$HERE/image.py").tar" ;;
    busybox) echo "$IMAGES/busybox-$(content_key "$HERE/image.py").tar" ;;
    crunchy)
      # With the image it stands on, whose recipe is its own.
      echo "$IMAGES/crunchy-$POSTGRES_RECIPE-$(content_key "$HERE"/{crunchy-image.py,crunchy/*.sh,lib/images.sh}).tar"
      ;;
    postgres-*) echo "$IMAGES/$1-${POSTGRES_SUITE[${1#postgres-}]}-$POSTGRES_RECIPE.tar" ;;
  esac
}

all_images() { echo pause busybox postgres-17 postgres-15 crunchy; }

build_image() {
  local file
  file=$(image_file "$1")
  if [ -f "$file" ]; then
    prune "$IMAGES" "$1-" "$(basename "$file")"
    return
  fi
  mkdir -p "$IMAGES"
  # What an interrupted build left.
  rm -rf --one-file-system "$IMAGES"/work.* "$IMAGES"/new.*
  case $1 in
    pause) build_pause "$file" ;;
    busybox) build_busybox "$file" ;;
    crunchy) build_crunchy "$file" ;;
    postgres-*) build_postgres "${1#postgres-}" "$file" ;;
  esac
}

build_pause() {
  local new=$IMAGES/new.pause
  need_go
  mkdir -p "$new/root"
  slowly "building the pause image" "$CACHE/log/pause.log" \
    env CGO_ENABLED=0 go build -ldflags='-s -w' -o "$new/root/pause" "$HERE/pause.go"
  wrap_image "$new" "$PAUSE_IMAGE" '{"Entrypoint": ["/pause"], "User": "65535:65535"}' "$1"
}

build_busybox() {
  local new=$IMAGES/new.busybox applet
  need_apt_lists
  mkdir -p "$new/root"/{bin,etc,tmp}
  chmod 1777 "$new/root/tmp"
  slowly "fetching busybox" "$CACHE/log/busybox.log" env -C "$new" apt-get download -o APT::Sandbox::User=root busybox-static
  dpkg-deb -x "$new"/busybox-static_*.deb "$new/package"
  cp "$(find "$new/package" -path '*/bin/busybox')" "$new/root/bin/busybox"
  for applet in $("$new/root/bin/busybox" --list); do
    [ -e "$new/root/bin/$applet" ] || ln -s busybox "$new/root/bin/$applet"
  done
  echo "root:x:0:0:root:/:/bin/sh" >"$new/root/etc/passwd"
  wrap_image "$new" "$BUSYBOX_IMAGE" '{"Cmd": ["sh"], "Env": ["PATH=/bin"]}' "$1"
}

# wrap_image FOLDER NAME CONFIG FILE: FOLDER/root as an image.
wrap_image() {
  tar -C "$1/root" --numeric-owner --owner=0 --group=0 -cf "$1/rootfs.tar" .
  python3 "$HERE/image.py" "$2" "$1/rootfs.tar" "$1/image.tar" --config "$3"
  mv "$1/image.tar" "$4"
  rm -rf "$1"
}

build_postgres() {
  local version=$1 file=$2 suite=${POSTGRES_SUITE[$1]} mirror options=() option
  need_root "building the PostgreSQL images"
  need_packages mmdebstrap=mmdebstrap python3=python3 \
    /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
  need_space "$IMAGES" 2500 "building the PostgreSQL $version image"
  mirror=$(debian_mirror) || exit $?
  # A proxy that the machine's apt is told to use.
  while read -r option; do options+=(--aptopt="$option"); done \
    < <(apt-config dump --format '%F "%v";%n' Acquire::http::Proxy Acquire::https::Proxy | grep -v ' "";' || true)
  # Debian's next release is signed anew every day, and a mirror that lags would be refused after a week; the signature is
  # checked all the same.
  options+=(--aptopt='Acquire::Check-Valid-Until "false"')
  # In a mount namespace, so that what mmdebstrap mounts in the new root is gone with it, however it ends.
  slowly "building the PostgreSQL $version image from Debian's $suite (once; 1 min)" \
    "$CACHE/log/postgres-$version.log" unshare --mount \
    "$HERE/postgres-image.sh" "$version" "$suite" "$mirror" "docker.io/library/postgres:$version" "$file" "${options[@]}"
}

# One file with all tags: the layer they share is in it once.
build_crunchy() {
  build_image postgres-17
  local names=("${CRUNCHY_TAGS[@]/#/$CRUNCHY_IMAGE:}")
  slowly "making the stand-ins for the Crunchy images" "$CACHE/log/crunchy.log" \
    python3 "$HERE/crunchy-image.py" "$(image_file postgres-17)" "$IMAGES/new.crunchy" "${names[@]}"
  mv "$IMAGES/new.crunchy" "$1"
}

# The mirror this machine's own packages come from.
debian_mirror() {
  if [ -n "${PGSET_TEST_DEBIAN_MIRROR:-}" ]; then
    echo "$PGSET_TEST_DEBIAN_MIRROR"
    return
  fi
  need_apt_lists
  local mirror
  # shellcheck disable=SC2016 # The dollar is apt-get's.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Label: Debian' | head -n 1)
  [ -n "$mirror" ] || die "apt's sources name no Debian mirror to make the PostgreSQL images from" \
    "set PGSET_TEST_DEBIAN_MIRROR to the URL of one"
  echo "$mirror"
}

# images_rootfs VERSION: unpacked on first use; the path on stdout.
images_rootfs() {
  local version=$1
  [ -n "${POSTGRES_SUITE[$version]:-}" ] || die "there is no PostgreSQL \"$version\" image" \
    "one of: $(printf '%s\n' "${!POSTGRES_SUITE[@]}" | sort -n | xargs)"
  local file root
  file=$(image_file "postgres-$version")
  root=$CACHE/rootfs/$(basename "$file" .tar)
  if [ ! -d "$root" ]; then with_lock unpack_rootfs "$version" "$file" "$root"; fi
  echo "$root"
}

unpack_rootfs() {
  local version=$1 file=$2 root=$3
  [ ! -d "$root" ] || return 0
  need_root "unpacking an image"
  build_image "postgres-$version"
  rm -rf "$root.new"
  mkdir -p "$root.new"
  slowly "unpacking the PostgreSQL $version image" "$CACHE/log/rootfs.log" unpack_layer "$file" "$root.new"
  mv "$root.new" "$root"
  prune "$CACHE/rootfs" "postgres-$version-" "$(basename "$root")"
}

unpack_layer() { tar -xOf "$1" "$(tar -tf "$1" | tail -n 1)" | tar -x --numeric-owner -p -C "$2"; }
