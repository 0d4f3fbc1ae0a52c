/* SPDX-License-Identifier: GPL-2.0 */
/* Values in a JSON text, where they are: RFC 8259. Nothing is copied. */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct json - a value
 * @at: where it begins, without white space
 * @len: bytes
 */
struct json {
	const char *at;
	size_t len;
};

bool json_value(const char *text, size_t len, struct json *value);
bool json_member(struct json object, const char *name, struct json *value);
bool json_next(struct json array, struct json *item);
bool json_text(struct json string, char *text, size_t size);
bool json_number(struct json value, uint64_t *number);
bool json_holds(struct json value, const char *word);

#endif /* CTL_JSON_H */
