# SPDX-License-Identifier: GPL-2.0
# Completion of aerationctl for bash.

_aerationctl()
{
	local word=${COMP_WORDS[COMP_CWORD]} words

	if [ "$COMP_CWORD" -eq 1 ]; then
		words="status watch explain metrics report flush restore squeeze on off set host
		       --help --version"
	else
		case "${COMP_WORDS[1]} $COMP_CWORD" in
		"status "*) words=--json ;;
		"watch "*) words="--interval --count" ;;
		"host 3")
			case ${COMP_WORDS[2]} in
			--qmp) compopt -o default; words="" ;;
			--qemu) words=$(pgrep -d " " qemu) ;;
			*) words="" ;;
			esac ;;
		"host 2") words="--qmp --qemu" ;;
		"host "*) words="--interval --count" ;;
		"metrics 2") words=--output ;;
		"metrics 3") compopt -o default; words="" ;;
		"flush "*) words="--again --wait" ;;
		"restore "*) words=--wait ;;
		"squeeze "*) words="--to --cache --within" ;;
		"on 2") words="virtio xen hyperv loop" ;;
		"set 2") words="window backoff reserve max-held" ;;
		*) words="" ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _aerationctl aerationctl
