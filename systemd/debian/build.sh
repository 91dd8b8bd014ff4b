#!/usr/bin/env bash
# build.sh CHOCK FOLDER: makes the Debian package of this binary in FOLDER, and says where it is.
#
# Its version is what the binary says, with $REVISION (1) behind it. The same binary, sources, $REVISION and
# $SOURCE_DATE_EPOCH give the same bytes. $COMPRESSION (xz) is how it is packed.
set -euo pipefail
chock=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "$0")/../.."
umask 022
export LC_ALL=C SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$("$chock" --version)-${REVISION:-1}
architecture=${ARCHITECTURE:-$(dpkg --print-architecture)}
maintainer=${MAINTAINER:-chock maintainers <maintainers@chock.invalid>}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
documents=$root/usr/share/doc/chock

make --no-print-directory install BINARY="$chock" DESTDIR="$root" PREFIX=/usr ZSH=share/zsh/vendor-completions >/dev/null
install -D -m 0644 systemd/debian/chock.toml "$root/etc/chock/chock.toml"
install -D -m 0644 systemd/debian/lintian-overrides "$root/usr/share/lintian/overrides/chock"
install -m 0644 systemd/debian/copyright "$documents/copyright"
systemd/debian/dependencies.py "$chock" "$documents"
rm "$documents/LICENSE"
mv "$documents/CHANGELOG.md" "$documents/changelog"
cat >"$documents/changelog.Debian" <<END
chock ($version) unstable; urgency=medium

  * See changelog.gz.

 -- $maintainer  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
END
gzip -9n "$documents"/changelog{,.Debian} "$documents/dependencies.txt" "$root"/usr/share/man/man?/*
docs/links.py "$documents"
# A debug build has its symbols, a release none.
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/chock"

mkdir "$root/DEBIAN" "$work/debian"
printf 'Source: chock\n\nPackage: chock\nArchitecture: any\n' >"$work/debian/control"
# Of libraries that no package has, the linker knows more than dpkg: a debug build has Swift's own.
depends=$(cd "$work" && dpkg-shlibdeps -O -xchock ${LOOSE:+--ignore-missing-info} -e"$root/usr/bin/chock" 2>"$work/words") ||
	{ cat "$work/words" >&2; exit 1; }
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
echo /etc/chock/chock.toml >"$root/DEBIAN/conffiles"
install -m 0755 -t "$root/DEBIAN" systemd/debian/{postinst,prerm,postrm}
# In KiB, as dpkg-gencontrol counts: each file rounded up, and 1 for all else.
size=$(cd "$root" && find . -path ./DEBIAN -prune -o -printf '%y %s\n' |
	awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }')
sed -e "s|@VERSION@|$version|; s|@ARCHITECTURE@|$architecture|; s|@MAINTAINER@|$maintainer|" \
	-e "s|@SIZE@|$size|; s|@DEPENDS@|${depends#shlibs:Depends=}|" systemd/debian/control.in >"$root/DEBIAN/control"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"

package=$folder/chock_${version}_$architecture.deb
dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --build "$root" "$package" >/dev/null
echo "$package"
