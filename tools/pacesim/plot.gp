# SPDX-License-Identifier: GPL-2.0
# What was free and what was reported over time, from "pacesim --series".
set terminal pngcairo size 900,420 font "sans,11"
set output out
set xlabel "seconds"
set ylabel "MiB"
set yrange [0:*]
set autoscale xfix
set key outside top center horizontal
set grid ytics
set style fill solid noborder
plot series index 0 using 1:2 with fillsteps fs solid lc rgb "#dddddd" title "free", \
     series index 1 using 1:3 with steps lw 2 lc rgb "#cc6600" title "reported by stock", \
     series index 0 using 1:3 with steps lw 2 lc rgb "#0060ad" title "reported by the pacer"
