/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which SYNs reach a stack when there are more of them than it can take. Part of steer.bpf.c. */

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STEER_SLOTS);
	UINT(map_flags, MAP_MMAPABLE);
	TYPE(key, u32);
	TYPE(value, struct steer_credit);
} credits SEC(".maps");

/* SYNs that were dropped: the upper half of each is a mark of which, the lower when. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STEER_SHED);
	TYPE(key, u32);
	TYPE(value, u32);
} shed SEC(".maps");

/* Units of 2^26 ns, 67 ms. A peer that gets no answer tries again after a second (RFC 6298), or two or three. */
enum { SOON = 7, STALE = 22, LATE = 48, TIME = 0xffff };

/* Whether a SYN, which is too many, was dropped some time ago: who floods with invented addresses does not wait and
 * try again. `h` says which it is; `room`: one more can pass. */
INLINE int comes_again(u64 h, int room)
{
	u32 at = (u32)h & (STEER_SHED - 1), mark = (u32)(h >> 32) & ~TIME;
	u32 now = (u32)(ktime_get_ns() >> 26) & TIME;
	volatile u32 *known = map_lookup(&shed, &at);
	u32 one, age;

	if (!known)
		return 0;
	one = *known;
	age = (now - one) & TIME;
	if ((one & ~TIME) == mark && age >= SOON && age < LATE) {
		if (room)
			*known = mark | now;
		return 1;
	}
	/* Whoever was remembered gets the time to come again. */
	if (age >= STALE)
		*known = mark | now;
	return 0;
}

/* Whether a SYN may go to a stack that has had so many. `h`: the flow's hash. */
INLINE int has_credit(u32 slot, u64 h, u32 sequence)
{
	struct steer_credit *c = map_lookup(&credits, &slot);
	u64 granted;
	s64 left, most;

	if (!c)
		return 1;
	granted = *(volatile u64 *)&c->granted;
	most = *(volatile u64 *)&c->most;
	if (!granted)
		return 1;
	/* Several CPUs may be here at once: they lose some of the count, which is of no matter. */
	left = granted - *(volatile u64 *)&c->passed;
	if (left > most) {
		left = most;
		*(volatile u64 *)&c->passed = granted - most;
	}
	if (left <= most >> 2) {
		h = (h ^ sequence) * 0x9e3779b97f4a7c15ULL;
		if (!comes_again(h ^ h >> 32, left > 0) || left <= 0) {
			__sync_fetch_and_add(&c->shed, 1);
			return 0;
		}
	}
	__sync_fetch_and_add(&c->passed, 1);
	return 1;
}
