// SPDX-License-Identifier: GPL-2.0
/*
 * What can be asked of the core, from words; see wish.h.
 */
#include <linux/ctype.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include "wish.h"

/* Longest wish in words, with the closing zero. */
#define TEXT_SIZE	96

static const char *const names[] = {
	[AERATION_FLUSH] = "flush",
	[AERATION_FLUSH_AGAIN] = "again",
	[AERATION_RESTORE] = "restore",
	[AERATION_SQUEEZE] = "squeeze",
};

/**
 * aeration_wish_for - ask for something, and set nothing
 * @what: that
 *
 * Return: the wish.
 */
struct aeration_wish aeration_wish_for(enum aeration_request what)
{
	return (struct aeration_wish){
		.what = what,
		.squeeze = what == AERATION_SQUEEZE,
		.order = {
			.within_ms = SQUEEZE_WITHIN_MS,
			.cache_percent = SQUEEZE_COLD,
		},
	};
}

/* One of the words of an order, "NAME=VALUE". Return: 0 or -EINVAL. */
static int parse_word(char *word, struct squeeze_order *order)
{
	char *value = strchr(word, '=');
	unsigned int number;
	char *rest;

	if (!value)
		return -EINVAL;
	*value++ = 0;
	if (!isdigit(*value))
		return -EINVAL;
	if (!strcmp(word, "to")) {
		order->to_bytes = memparse(value, &rest);
		return *rest || !order->to_bytes ? -EINVAL : 0;
	}
	if (kstrtouint(value, 10, &number))
		return -EINVAL;
	if (!strcmp(word, "cache") && number <= 100)
		order->cache_percent = number;
	else if (!strcmp(word, "within") && number &&
		 number <= SQUEEZE_WITHIN_MAX_MS)
		order->within_ms = number;
	else
		return -EINVAL;
	return 0;
}

/**
 * aeration_wish_parse - what is asked for, from words
 * @text: "flush", "again", "restore", or "squeeze", which may be followed by
 *	"to=BYTES", "cache=PERCENT" and "within=MS"
 * @wish: set to that
 *
 * Context: any.
 * Return: 0, or -EINVAL.
 */
int aeration_wish_parse(const char *text, struct aeration_wish *wish)
{
	char copy[TEXT_SIZE], *next, *word;
	int what, err = 0;

	if (strscpy(copy, text, sizeof(copy)) < 0)
		return -EINVAL;
	next = strim(copy);
	what = match_string(names, ARRAY_SIZE(names), strsep(&next, " "));
	if (what < 0)
		return what;
	*wish = aeration_wish_for(what);
	while (!err && (word = strsep(&next, " ")))
		if (*word)
			err = wish->squeeze ? parse_word(word, &wish->order) :
					      -EINVAL;
	return err;
}

/**
 * aeration_wish_name - what is asked for, in a word
 * @what: that
 *
 * Return: a constant text.
 */
const char *aeration_wish_name(enum aeration_request what)
{
	return names[what];
}
