// SPDX-License-Identifier: GPL-2.0
/* Find values in a JSON text, as much of it as a monitor's answers need. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"

/* Values within values, at most: QEMU's answers have five. */
#define DEPTH_MAX	32

/* Digits of a number that is read, with its end. */
#define NUMBER_BYTES	24

static size_t blank(const char *at, const char *end)
{
	const char *p = at;

	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return (size_t)(p - at);
}

/* Return: where a string that begins at @at ends, or NULL. */
static const char *after_string(const char *at, const char *end)
{
	for (at++; at < end; at++) {
		if (*at == '"')
			return at + 1;
		if (*at == '\\')
			at++;
	}
	return NULL;
}

/* Return: where the value that begins at @at ends, or NULL. */
static const char *after_value(const char *at, const char *end)
{
	char open[DEPTH_MAX];
	unsigned int depth = 0;
	size_t len;

	do {
		if (at >= end)
			return NULL;
		switch (*at) {
		case '"':
			at = after_string(at, end);
			if (!at)
				return NULL;
			break;
		case '{':
		case '[':
			if (depth == DEPTH_MAX)
				return NULL;
			open[depth++] = *at++;
			break;
		case '}':
		case ']':
			if (!depth || open[--depth] != (*at == '}' ? '{' : '['))
				return NULL;
			at++;
			break;
		case ',':
		case ':':
			/* Between values, of which there is one only here. */
			if (!depth)
				return NULL;
			at++;
			break;
		default:
			/* A NUL is no value, and nobody goes on behind it. */
			len = strcspn(at, ",:]}[{\" \t\r\n");
			if (!len)
				return NULL;
			at += len;
			break;
		}
		at += depth ? blank(at, end) : 0;
	} while (depth);
	return at > end ? NULL : at;
}

/**
 * json_value - find the first value in a text
 * @text: the text, with a NUL after its end
 * @len: its bytes
 * @value: set to the value
 *
 * Return: false if there is no whole one.
 */
bool json_value(const char *text, size_t len, struct json *value)
{
	const char *end = text + len;
	const char *at = text + blank(text, end);
	const char *after = after_value(at, end);

	if (!after || after == at)
		return false;
	*value = (struct json){ at, (size_t)(after - at) };
	return true;
}

/* Go on from @at, in @whole, to the next value; false: there is none. */
static bool next_value(struct json whole, const char *at, struct json *value)
{
	const char *end = whole.at + whole.len - 1;

	at += blank(at, end);
	if (at < end && (*at == ',' || *at == ':'))
		at++;
	return at < end && json_value(at, (size_t)(end - at), value);
}

/**
 * json_member - find a member of an object
 * @object: the object; anything else has no members
 * @name: the member's name
 * @value: set to its value
 *
 * Return: false if there is none.
 */
bool json_member(struct json object, const char *name, struct json *value)
{
	const char *at = object.at + 1;
	size_t len = strlen(name);
	struct json key;

	if (!object.len || *object.at != '{')
		return false;
	while (next_value(object, at, &key)) {
		if (!next_value(object, key.at + key.len, value))
			return false;
		if (key.len == len + 2 && !memcmp(key.at + 1, name, len))
			return true;
		at = value->at + value->len;
	}
	return false;
}

/**
 * json_next - go through an array
 * @array: the array; anything else has no items
 * @item: an item of it, or one of length 0 to begin; set to the next
 *
 * Return: false if there are no more.
 */
bool json_next(struct json array, struct json *item)
{
	if (!array.len || *array.at != '[')
		return false;
	return next_value(array, item->len ? item->at + item->len : array.at + 1,
			  item);
}

/**
 * json_text - what a string says
 * @string: a string; escapes stay what they are
 * @text: set to what it says
 * @size: bytes there
 *
 * Return: false if it is no string, too long, or has control characters in it.
 */
bool json_text(struct json string, char *text, size_t size)
{
	size_t i;

	if (string.len < 2 || *string.at != '"' || string.len - 2 >= size)
		return false;
	for (i = 0; i < string.len; i++)
		if (iscntrl((unsigned char)string.at[i]))
			return false;
	memcpy(text, string.at + 1, string.len - 2);
	text[string.len - 2] = '\0';
	return true;
}

/**
 * json_number - read a number
 * @value: a whole number, not less than 0
 * @number: set to it
 *
 * Return: false if it is none.
 */
bool json_number(struct json value, uint64_t *number)
{
	char text[NUMBER_BYTES];
	char *end;

	if (!value.len || value.len >= sizeof(text) || *value.at < '0' ||
	    *value.at > '9')
		return false;
	memcpy(text, value.at, value.len);
	text[value.len] = '\0';
	*number = strtoull(text, &end, 10);
	return !*end;
}

/**
 * json_holds - does a word occur in a value?
 * @value: any value
 * @word: the word
 *
 * Return: whether it does.
 */
bool json_holds(struct json value, const char *word)
{
	return value.len && memmem(value.at, value.len, word, strlen(word));
}
