// SPDX-License-Identifier: GPL-2.0
/*
 * For tests: do what a debug kernel complains about, so that it is seen that
 * the complaint is noticed.
 *
 * Nothing of it does harm where nobody looks. Loading it fails with -ECANCELED,
 * so that it can be loaded again.
 */
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

static char *kind;
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "locks, atomic, object or use");

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(lock);

/* Two locks in both orders. */
static void locks(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

/* What may sleep, where nothing may. */
static void atomic(void)
{
	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

static void nothing(struct work_struct *work)
{
}

/* A work item on the stack that nobody said was there. */
static void object(void)
{
	struct work_struct work;

	INIT_WORK(&work, nothing);
	destroy_work_on_stack(&work);
}

/* Memory that is not ours any more. */
static void use(void)
{
	char *text = kmalloc(64, GFP_KERNEL);

	kfree(text);
	if (text)
		READ_ONCE(text[8]);
}

static int __init splat_init(void)
{
	if (!kind)
		return -EINVAL;
	if (!strcmp(kind, "locks"))
		locks();
	else if (!strcmp(kind, "atomic"))
		atomic();
	else if (!strcmp(kind, "object"))
		object();
	else if (!strcmp(kind, "use"))
		use();
	else
		return -EINVAL;
	return -ECANCELED;
}

module_init(splat_init);
MODULE_DESCRIPTION("Does what a debug kernel complains about, for tests of aeration");
MODULE_AUTHOR("The Aeration authors");
MODULE_LICENSE("GPL");
