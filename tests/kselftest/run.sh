#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the tests beside it, all of them or those named: run.sh loop hold
# One KTAP result a script, its own results indented before it, totals at the end.
cd "$(dirname "$0")" || exit

SKIPPED=4	# exit status of a test that cannot run here, as in kselftest

if [ $# -eq 0 ]; then
	for script in *.sh; do
		case $script in
		ktap.sh | run.sh) ;;
		*) set -- "$@" "${script%.sh}" ;;
		esac
	done
fi

echo "KTAP version 1"
echo "1..$#"
number=0 pass=0 fail=0 skip=0
for name; do
	number=$((number + 1))
	status=1
	if [ -x "./$name.sh" ]; then
		{
			"./$name.sh"
			echo $? >/tmp/run.status
		} 2>&1 | sed 's/^/  /'
		status=$(cat /tmp/run.status)
	else
		echo "# there is no test $name"
	fi
	case $status in
	0)
		pass=$((pass + 1))
		echo "ok $number $name"
		;;
	"$SKIPPED")
		skip=$((skip + 1))
		echo "ok $number $name # SKIP"
		;;
	*)
		fail=$((fail + 1))
		echo "not ok $number $name"
		;;
	esac
done
echo "# Totals: pass:$pass fail:$fail xfail:0 xpass:0 skip:$skip error:0"
[ "$fail" -eq 0 ]
