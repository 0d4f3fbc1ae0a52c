// SPDX-License-Identifier: GPL-2.0
/* Which backend may run: the rule of the one authority, case by case. */
#include <string.h>
#include "choose.h"
#include "ktap.h"

#define ALL	((1U << AERATOR_KINDS) - 1)

static void names_both_ways(void)
{
	enum aerator_kind kind;

	for (kind = 0; kind <= AERATOR_NONE; kind++)
		EXPECT_EQ(aeration_choose_parse(aeration_choose_name(kind)),
			  kind);
	EXPECT_EQ(aeration_choose_parse("virtio\n"), AERATOR_VIRTIO);
	EXPECT_EQ(aeration_choose_parse("virtio\n\n"), -1);
	EXPECT_EQ(aeration_choose_parse("virti"), -1);
	EXPECT_EQ(aeration_choose_parse("virtio2"), -1);
	EXPECT_EQ(aeration_choose_parse("VIRTIO"), -1);
	EXPECT_EQ(aeration_choose_parse(""), -1);
	EXPECT_EQ(aeration_choose_parse("\n"), -1);
}

static void auto_takes_what_fits(void)
{
	struct choose_facts f = { .requested = AERATOR_AUTO, .present = ALL };

	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_VIRTIO);
	f.on_xen = true;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_XEN);
	f.on_xen = false;
	f.on_hyperv = true;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_HYPERV);
	f.on_hyperv = false;
	f.present = 1U << AERATOR_LOOP;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
	EXPECT(strstr(aeration_choose_against(&f, AERATOR_LOOP), "by name"));
	EXPECT(strstr(aeration_choose_against(&f, AERATOR_VIRTIO),
		      "no device"));
}

/* In a Xen domain an outer host's balloon is never used, however it is asked. */
static void never_virtio_under_xen(void)
{
	struct choose_facts f = { .on_xen = true, .present = ALL };

	for (f.requested = 0; f.requested <= AERATOR_NONE; f.requested++)
		EXPECT(aeration_choose_backend(&f) != AERATOR_VIRTIO);
	f.requested = AERATOR_VIRTIO;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
	EXPECT(strstr(aeration_choose_forbids(&f, AERATOR_VIRTIO),
		      "Xen domain"));
}

static void nothing_in_a_confidential_guest(void)
{
	struct choose_facts f = { .confidential = true, .present = ALL };

	for (f.requested = 0; f.requested <= AERATOR_NONE; f.requested++) {
		f.on_xen = f.requested & 1;
		EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
	}
	EXPECT(strstr(aeration_choose_forbids(&f, AERATOR_LOOP),
		      "confidential"));
}

/* Not even by name. */
static void nothing_in_a_capture_kernel(void)
{
	struct choose_facts f = { .capture = true, .present = ALL };

	for (f.requested = 0; f.requested <= AERATOR_NONE; f.requested++) {
		f.on_xen = f.requested & 1;
		EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
		EXPECT_EQ(aeration_choose_absent(&f), AERATOR_NONE);
	}
	EXPECT(strstr(aeration_choose_forbids(&f, AERATOR_LOOP), "dump"));
}

static void by_name_means_that_one(void)
{
	struct choose_facts f = { .present = ALL };

	f.requested = AERATOR_LOOP;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_LOOP);
	EXPECT(strstr(aeration_choose_against(&f, AERATOR_VIRTIO), "by name"));
	f.requested = AERATOR_XEN;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
	f.requested = AERATOR_NONE;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
}

static void a_failed_device_is_not_used(void)
{
	struct choose_facts f = { .requested = AERATOR_AUTO, .present = ALL,
				  .failed = 1U << AERATOR_VIRTIO };

	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
	EXPECT(strstr(aeration_choose_against(&f, AERATOR_VIRTIO), "failed"));
	EXPECT(aeration_choose_failed(&f));
	f.requested = AERATOR_LOOP;
	EXPECT(!aeration_choose_failed(&f));
	f.requested = AERATOR_NONE;
	EXPECT(!aeration_choose_failed(&f));
	f.requested = AERATOR_VIRTIO;
	EXPECT(aeration_choose_failed(&f));
	f.failed = 0;
	EXPECT(!aeration_choose_failed(&f));
}

/* Whatever is chosen has nothing against it, and everything else has. */
static void chosen_and_refused_agree(void)
{
	unsigned int bits;

	for (bits = 0; bits < 1U << 12; bits++) {
		struct choose_facts f = {
			.on_xen = bits & 1,
			.on_hyperv = bits & 2,
			.confidential = bits & 4,
			.present = bits >> 3 & 15,
			.failed = bits >> 7 & 15,
			.capture = bits >> 11,
		};
		enum aerator_kind kind, chosen;

		for (f.requested = 0; f.requested <= AERATOR_NONE;
		     f.requested++) {
			chosen = aeration_choose_backend(&f);
			if (chosen != AERATOR_NONE)
				EXPECT(!aeration_choose_against(&f, chosen));
			else
				for (kind = 0; kind < AERATOR_KINDS; kind++)
					EXPECT(aeration_choose_against(&f,
								       kind));
		}
	}
}

static void domain_0_only_by_name(void)
{
	struct choose_facts f = {
		.requested = AERATOR_AUTO,
		.on_xen = true,
		.dom0 = true,
		.present = ALL,
	};

	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
	EXPECT(strstr(aeration_choose_against(&f, AERATOR_XEN), "domain 0"));
	EXPECT(!aeration_choose_forbids(&f, AERATOR_XEN));
	f.requested = AERATOR_XEN;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_XEN);
	f.requested = AERATOR_VIRTIO;
	EXPECT_EQ(aeration_choose_backend(&f), AERATOR_NONE);
}

/* Asked for: what fits the host, may run, and is not there. */
static void an_absent_backend_is_asked_for(void)
{
	struct choose_facts f = { .requested = AERATOR_AUTO };

	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_NONE);
	f.on_hyperv = true;
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_HYPERV);
	f.requested = AERATOR_HYPERV;
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_HYPERV);
	f.present = 1U << AERATOR_HYPERV;
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_NONE);
	f.present = 0;
	for (f.requested = 0; f.requested <= AERATOR_NONE; f.requested++)
		if (f.requested != AERATOR_HYPERV && f.requested != AERATOR_AUTO)
			EXPECT_EQ(aeration_choose_absent(&f), AERATOR_NONE);

	f = (struct choose_facts){ .requested = AERATOR_AUTO, .on_xen = true };
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_XEN);
	f.dom0 = true;
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_NONE);
	f.requested = AERATOR_XEN;
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_XEN);
	f.confidential = true;
	EXPECT_EQ(aeration_choose_absent(&f), AERATOR_NONE);
}

/* On Xen what was given may be gone: a part stays, and domain 0 has to be asked. */
static void how_much_may_be_held(void)
{
	struct choose_facts f = { .requested = AERATOR_AUTO };

	EXPECT_EQ(aeration_choose_held_percent(&f), 100);
	f.on_xen = true;
	EXPECT_EQ(aeration_choose_held_percent(&f), 87);
	f.dom0 = true;
	EXPECT_EQ(aeration_choose_held_percent(&f), 0);
}

int main(void)
{
	RUN(names_both_ways);
	RUN(auto_takes_what_fits);
	RUN(never_virtio_under_xen);
	RUN(domain_0_only_by_name);
	RUN(nothing_in_a_confidential_guest);
	RUN(nothing_in_a_capture_kernel);
	RUN(by_name_means_that_one);
	RUN(a_failed_device_is_not_used);
	RUN(chosen_and_refused_agree);
	RUN(an_absent_backend_is_asked_for);
	RUN(how_much_may_be_held);
	return ktap_end();
}
