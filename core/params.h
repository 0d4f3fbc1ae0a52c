/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What was asked for on the command line, when the module was loaded or since.
 */
#ifndef _AERATION_PARAMS_H
#define _AERATION_PARAMS_H

#include <linux/types.h>
#include "choose/choose.h"

/* Longest window, and longest that it may back off to, ms. */
#define AERATION_WINDOW_MAX_MS	60000

/**
 * enum aeration_param - what has changed
 * @AERATION_PARAM_PACE: window, back-off, reserve or the most that may be held
 * @AERATION_PARAM_BACKEND: the backend asked for
 */
enum aeration_param {
	AERATION_PARAM_PACE,
	AERATION_PARAM_BACKEND,
};

void aeration_param_listen(void (*changed)(enum aeration_param what));

u32 aeration_param_window_ms(void);
u32 aeration_param_backoff_ms(void);
unsigned int aeration_param_reserve_mb(void);
unsigned long aeration_param_reserve_pages(void);
unsigned long aeration_param_max_held_pages(void);
unsigned int aeration_param_order(void);
enum aerator_kind aeration_param_backend(void);

int aeration_param_store_window_ms(const char *val);
int aeration_param_store_backoff_ms(const char *val);
int aeration_param_store_reserve_mb(const char *val);
int aeration_param_store_max_held(const char *val);
void aeration_param_hold_by_default(unsigned int percent);
int aeration_param_show_max_held(char *buf);

#endif /* _AERATION_PARAMS_H */
