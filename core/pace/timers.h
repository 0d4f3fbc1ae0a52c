/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One deferrable timer on each CPU: none wakes an idle CPU, and whichever CPU is
 * busy looks.
 */
#ifndef _AERATION_TIMERS_H
#define _AERATION_TIMERS_H

int aeration_timers_init(void (*look)(void));
void aeration_timers_exit(void);
void aeration_timers_start(unsigned long period);
void aeration_timers_stop(void);
void aeration_timers_set_period(unsigned long period);

#endif /* _AERATION_TIMERS_H */
