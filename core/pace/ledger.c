// SPDX-License-Identifier: GPL-2.0
/*
 * What was told to the hypervisor lately, and how much of it is regretted; see
 * pacer.h.
 */
#include "ledger.h"
#include "slots.h"

/**
 * aeration_ledger_begin - begin with pages that were told so long ago that nobody regrets it
 * @p: the pacer
 * @ledger: the ledger
 * @out: how many pages those are
 */
void aeration_ledger_begin(const struct pacer *p, struct pacer_ledger *ledger,
			   unsigned long out)
{
	unsigned int i;

	for (i = 0; i < PACER_RING; i++)
		ledger->told[i] = 0;
	ledger->out = out;
	ledger->fresh = p->newest;
	ledger->sorry = 0;
	ledger->sorry_since = p->now_ms;
	ledger->calm_began = p->now_ms;
	ledger->calm_told = 0;
	ledger->calm_sorry = 0;
}

/**
 * aeration_ledger_tell - take note of what was told
 * @p: the pacer
 * @ledger: the ledger
 * @pages: pages told
 */
void aeration_ledger_tell(const struct pacer *p, struct pacer_ledger *ledger,
			  unsigned long pages)
{
	unsigned long *told = &ledger->told[at(p->newest)];

	*told = sum(*told, pages);
	ledger->calm_told = sum(ledger->calm_told, pages);
	ledger->out = sum(ledger->out, pages);
}

/* What was told in the last @window_ms, and is yet to be judged; pages. */
static unsigned long told_lately(const struct pacer *p,
				 const struct pacer_ledger *ledger)
{
	u64 i, slots = slots_within(p, p->window_ms);
	unsigned long pages = 0;

	for (i = 0; i < slots && p->newest - i >= ledger->fresh; i++)
		pages = sum(pages, ledger->told[at(p->newest - i)]);
	return pages;
}

/**
 * aeration_ledger_begin_stretch - begin a stretch of calm
 * @p: the pacer
 * @ledger: the ledger
 *
 * What was told lately may be regretted in it, so it is part of it.
 */
void aeration_ledger_begin_stretch(const struct pacer *p,
				   struct pacer_ledger *ledger)
{
	ledger->calm_began = p->now_ms;
	ledger->calm_told = told_lately(p, ledger);
	ledger->calm_sorry = 0;
}

/**
 * aeration_ledger_close - what was told until now has been judged
 * @p: the pacer
 * @ledger: the ledger
 */
void aeration_ledger_close(const struct pacer *p, struct pacer_ledger *ledger)
{
	ledger->fresh = p->newest + 1;
	ledger->sorry = 0;
	aeration_ledger_begin_stretch(p, ledger);
}

/**
 * aeration_ledger_turn_page - begin another stretch if the present one has been long enough
 * @p: the pacer
 * @ledger: the ledger
 *
 * What was told in one stretch says nothing of the next, verdict or not.
 */
void aeration_ledger_turn_page(const struct pacer *p,
			       struct pacer_ledger *ledger)
{
	if (p->now_ms - ledger->calm_began >= calm_ms(p))
		aeration_ledger_begin_stretch(p, ledger);
}

/* Are so many pages enough to regret, and one part in @share of @told? */
static bool is_much(const struct pacer *p, unsigned long sorry,
		    unsigned long told, unsigned int share)
{
	return sorry && sorry / PACER_REGRET_STEPS >= p->step &&
	       sorry >= told / share;
}

/**
 * aeration_ledger_take_back - the guest took back what it had told the hypervisor
 * @p: the pacer
 * @ledger: the ledger
 * @pages: pages, no more than are out
 * @regretted: what of it is regretted is added here, pages
 *
 * It is not known which: the latest is assumed. It is regretted if it was told no
 * longer ago than the window that was asked for, whatever is in force: to keep it
 * for that time costs as much as to have it again, see docs/pacing.md. A guest may
 * take what it needs bit by bit, so what is regretted within a window counts
 * together; and a little in each of many windows does if most of what was told went
 * that way.
 *
 * Return: true if that is too much.
 */
bool aeration_ledger_take_back(const struct pacer *p,
			       struct pacer_ledger *ledger,
			       unsigned long pages, u64 *regretted)
{
	u64 i, slots = slots_within(p, p->window_ms);
	unsigned long lately;

	ledger->out -= pages;
	if (p->now_ms - ledger->sorry_since > aeration_pacer_window_ms(p)) {
		ledger->sorry = 0;
		ledger->sorry_since = p->now_ms;
	}
	lately = sum(ledger->sorry, told_lately(p, ledger));
	for (i = 0; i < slots; i++) {
		unsigned long *told = &ledger->told[at(p->newest - i)];
		unsigned long part = smaller(*told, pages);

		if (p->newest - i >= ledger->fresh) {
			ledger->sorry = sum(ledger->sorry, part);
			ledger->calm_sorry = sum(ledger->calm_sorry, part);
		}
		*regretted += part;
		*told -= part;
		pages -= part;
	}
	return is_much(p, ledger->sorry, lately, PACER_REGRET_SHARE) ||
	       is_much(p, ledger->calm_sorry, ledger->calm_told,
		       PACER_REGRET_MOST);
}
