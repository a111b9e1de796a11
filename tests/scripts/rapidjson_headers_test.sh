#!/bin/sh
# rapidjson_headers_test.sh SCRIPT: the copy is corrected, made again when it differs, and not touched when it is right.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
include=$work/include/rapidjson
mkdir -p "$include/internal"
echo 'GenericStringRef& operator=(const GenericStringRef& rhs) { s = rhs.s; length = rhs.length; }' > "$include/document.h"
echo 'if (stackTop_ + sizeof(T) * count > stackEnd_)' > "$include/internal/stack.h"
copy=$work/copy/rapidjson

"$1" "$work/include" "$work/copy"
grep -q 'sizeof(T) \* count > static_cast' "$copy/internal/stack.h"
! grep -q operator= "$copy/document.h" || { echo "the assignment is still there"; exit 1; }

touch -d '2001-01-01' "$copy/document.h" "$copy/internal/stack.h"
"$1" "$work/include" "$work/copy"
[ "$(find "$copy" -name '*.h' -newermt '2001-01-02')" = "" ] || { echo "a copy that was right is written again"; exit 1; }

echo '#define MORE' >> "$include/document.h"
"$1" "$work/include" "$work/copy"
grep -q MORE "$copy/document.h"
