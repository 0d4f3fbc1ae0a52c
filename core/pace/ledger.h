/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ledgers of the pacer: what was told, and how much of it is regretted. Pure.
 */
#ifndef _AERATION_LEDGER_H
#define _AERATION_LEDGER_H

#include "pacer.h"

void aeration_ledger_begin(const struct pacer *p, struct pacer_ledger *ledger,
			   unsigned long out);
void aeration_ledger_tell(const struct pacer *p, struct pacer_ledger *ledger,
			  unsigned long pages);
void aeration_ledger_begin_stretch(const struct pacer *p,
				   struct pacer_ledger *ledger);
void aeration_ledger_close(const struct pacer *p, struct pacer_ledger *ledger);
void aeration_ledger_turn_page(const struct pacer *p,
			       struct pacer_ledger *ledger);
bool aeration_ledger_take_back(const struct pacer *p,
			       struct pacer_ledger *ledger,
			       unsigned long pages, u64 *regretted);

#endif /* _AERATION_LEDGER_H */
