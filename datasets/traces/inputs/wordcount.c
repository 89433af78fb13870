/*
 * wordcount: the words of standard input, most frequent first.
 *
 * The input of the compiler trace (cc1-wordcount) and a program in its own right:
 *   cc -O1 -o wordcount wordcount.c && ./wordcount 10 < text
 *
 * A hash table with open addressing whose keys live in one growing arena.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena {
	char *base;
	size_t used, size;
};

struct entry {
	size_t key;		/* offset into the arena; offsets survive its growth */
	uint32_t length;
	uint32_t hash;
	uint64_t count;		/* zero: the slot is free */
};

struct table {
	struct entry *slots;
	size_t used, size;	/* size is a power of two */
	struct arena keys;
};

static void die(const char *what)
{
	fprintf(stderr, "wordcount: %s\n", what);
	exit(1);
}

static size_t arena_push(struct arena *a, const char *bytes, size_t n)
{
	size_t at = a->used;

	if (a->size - a->used < n) {
		size_t size = a->size ? a->size : 4096;

		while (size - a->used < n)
			size *= 2;
		a->base = realloc(a->base, size);
		if (!a->base)
			die("out of memory");
		a->size = size;
	}
	memcpy(a->base + at, bytes, n);
	a->used += n;
	return at;
}

/* FNV-1a */
static uint32_t hash_of(const char *bytes, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)bytes[i]) * 16777619u;
	return h;
}

static struct entry *slot_for(const struct table *t, const char *word, uint32_t n, uint32_t hash)
{
	size_t mask = t->size - 1;
	size_t i = hash & mask;

	for (;;) {
		struct entry *e = &t->slots[i];

		if (!e->count)
			return e;
		if (e->hash == hash && e->length == n && !memcmp(t->keys.base + e->key, word, n))
			return e;
		i = (i + 1) & mask;
	}
}

static void table_grow(struct table *t)
{
	struct entry *old = t->slots;
	size_t old_size = t->size;

	t->size = old_size ? old_size * 2 : 1024;
	t->slots = calloc(t->size, sizeof(*t->slots));
	if (!t->slots)
		die("out of memory");
	for (size_t i = 0; i < old_size; i++) {
		struct entry *e = &old[i];

		if (e->count)
			*slot_for(t, t->keys.base + e->key, e->length, e->hash) = *e;
	}
	free(old);
}

static void table_add(struct table *t, const char *word, uint32_t n)
{
	uint32_t hash = hash_of(word, n);
	struct entry *e;

	if (2 * (t->used + 1) > t->size)
		table_grow(t);
	e = slot_for(t, word, n, hash);
	if (!e->count) {
		e->key = arena_push(&t->keys, word, n);
		e->length = n;
		e->hash = hash;
		t->used++;
	}
	e->count++;
}

static const char *sort_keys;

static int by_count(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	uint32_t n = a->length < b->length ? a->length : b->length;
	int order;

	if (a->count != b->count)
		return a->count < b->count ? 1 : -1;
	order = memcmp(sort_keys + a->key, sort_keys + b->key, n);
	return order ? order : (int)a->length - (int)b->length;
}

/* Moves the used slots to the front and sorts them, most frequent first. */
static void table_sort(struct table *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->size; i++)
		if (t->slots[i].count)
			t->slots[n++] = t->slots[i];
	sort_keys = t->keys.base;
	if (n)
		qsort(t->slots, n, sizeof(*t->slots), by_count);
}

int main(int argc, char **argv)
{
	struct table words = { 0 };
	char word[256];
	uint32_t n = 0;
	size_t show = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
	int c;

	while ((c = getchar()) != EOF) {
		if (isalpha(c)) {
			if (n < sizeof(word))
				word[n++] = (char)tolower(c);
		} else if (n) {
			table_add(&words, word, n);
			n = 0;
		}
	}
	if (n)
		table_add(&words, word, n);
	if (ferror(stdin))
		die("cannot read standard input");
	table_sort(&words);
	for (size_t i = 0; i < words.used && i < show; i++) {
		const struct entry *e = &words.slots[i];

		printf("%10llu %.*s\n", (unsigned long long)e->count, (int)e->length,
		       words.keys.base + e->key);
	}
	return 0;
}
