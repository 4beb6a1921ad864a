//! PostgreSQL's memory and WAL settings from what a member has: memory, disk, connections.
//!
//! Pure arithmetic; the reasons for the parameters stand beside them in `templates/postgresql.conf`, the reasons for
//! the numbers here.

use crate::settings::Layout;

const KB: u64 = 1024;
const MB: u64 = 1024 * KB;
const GB: u64 = 1024 * MB;

/// PostgreSQL's WAL segment size; limits on WAL are whole segments.
pub const SEGMENT: u64 = 16 * MB;

/// What a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The container's memory limit, in bytes.
    pub memory: u64,
    /// The claim's size, in bytes.
    pub disk: u64,
    /// Whether the claim is the member's own.
    pub layout: Layout,
    /// `max_connections`.
    pub connections: u64,
}

/// PostgreSQL's settings that follow from [`Room`], all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    pub shared_buffers: u64,
    pub effective_cache_size: u64,
    pub maintenance_work_mem: u64,
    pub work_mem: u64,
    pub max_wal_size: u64,
    pub min_wal_size: u64,
    pub wal_keep_size: u64,
    pub max_slot_wal_keep_size: u64,
}

impl Tuning {
    /// The settings for a member with this room.
    ///
    /// Nothing here depends on the number of members: scaling a set must not change its configuration, which would
    /// restart every member.
    #[must_use]
    pub fn of(room: Room) -> Self {
        let Room { memory, disk, layout, connections } = room;
        // A shared claim holds every member's folder; a member may count on a quarter of it.
        let share = match layout {
            Layout::PerPod => disk,
            Layout::Shared => disk / 4,
        };
        let max_wal_size = segments(share / 8, 4, 8 * GB);
        Self {
            // A quarter is PostgreSQL's own advice. Without huge pages every connection maps the buffers with its own
            // page tables, 2 MB for each GB: 8 GB is where a hundred connections begin to pay more than they gain.
            shared_buffers: (memory / 4).clamp(8 * MB, 8 * GB) / MB * MB,
            // The page cache counts towards the container's limit: buffers and cache together cannot be more than what
            // the connections leave.
            effective_cache_size: (memory / 4 * 3).clamp(16 * MB, 1024 * GB) / MB * MB,
            // Up to three autovacuum workers take this much each; VACUUM before 17 cannot use more than 1 GB.
            maintenance_work_mem: (memory / 16).clamp(4 * MB, GB) / MB * MB,
            // A quarter of the memory if every connection sorts at once. Under 1 MB everything goes through files.
            work_mem: (memory / 4 / connections.max(1)).clamp(MB, 256 * MB) / KB * KB,
            max_wal_size,
            // Segments up to this are renamed instead of deleted and made anew: a quarter of the most there may be.
            min_wal_size: segments(max_wal_size / 4, 2, GB),
            // What a replica may miss without a new clone, in place of replication slots.
            wal_keep_size: segments(share / 16, 4, 4 * GB),
            // What a slot made by hand may hold back before it is dropped, so that a forgotten one cannot fill the disk.
            max_slot_wal_keep_size: segments(share / 4, 8, 1024 * GB),
        }
    }
}

/// Whole WAL segments of at most `bytes`, within limits.
fn segments(bytes: u64, least: u64, most: u64) -> u64 {
    bytes.clamp(least * SEGMENT, most) / SEGMENT * SEGMENT
}

/// Whole kilobytes in the largest unit of `postgresql.conf` that divides them.
#[must_use]
pub fn unit(bytes: u64) -> String {
    let bytes = bytes / KB * KB;
    if bytes.is_multiple_of(GB) {
        format!("{}GB", bytes / GB)
    } else if bytes.is_multiple_of(MB) {
        format!("{}MB", bytes / MB)
    } else {
        format!("{}kB", bytes / KB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning(memory: u64, disk: u64, layout: Layout) -> Tuning {
        Tuning::of(Room { memory, disk, layout, connections: 100 })
    }

    #[test]
    fn an_ordinary_member() {
        assert_eq!(
            tuning(4 * GB, 80 * GB, Layout::PerPod),
            Tuning {
                shared_buffers: GB,
                effective_cache_size: 3 * GB,
                maintenance_work_mem: 256 * MB,
                work_mem: 10_485 * KB,
                max_wal_size: 8 * GB,
                min_wal_size: GB,
                wal_keep_size: 4 * GB,
                max_slot_wal_keep_size: 20 * GB,
            }
        );
    }

    #[test]
    fn a_small_member_keeps_within_its_memory_and_disk() {
        let small = tuning(512 * MB, GB, Layout::PerPod);
        assert_eq!(small.shared_buffers, 128 * MB);
        assert_eq!(small.work_mem, 1310 * KB);
        assert_eq!(small.max_wal_size, 128 * MB);
        assert_eq!(small.min_wal_size, 32 * MB);
        assert_eq!(small.wal_keep_size, 64 * MB);
        assert_eq!(small.max_slot_wal_keep_size, 256 * MB);
    }

    #[test]
    fn a_shared_claim_is_every_members() {
        let own = tuning(GB, 10 * GB, Layout::PerPod);
        let shared = tuning(GB, 40 * GB, Layout::Shared);
        assert_eq!(own, shared);
    }

    #[test]
    fn the_smallest_values_are_ones_postgresql_starts_with() {
        let least = tuning(0, 0, Layout::Shared);
        // PostgreSQL refuses min_wal_size and max_wal_size under two segments.
        assert!(least.min_wal_size >= 2 * SEGMENT && least.max_wal_size >= 2 * SEGMENT);
        assert!(least.min_wal_size <= least.max_wal_size);
        assert!(least.shared_buffers >= MB && least.work_mem >= 64 * KB && least.maintenance_work_mem >= MB);
    }

    #[test]
    fn the_largest_values_are_ones_postgresql_accepts() {
        let most = Tuning::of(Room { memory: u64::MAX, disk: u64::MAX, layout: Layout::PerPod, connections: 0 });
        assert_eq!(most.shared_buffers, 8 * GB);
        assert_eq!(most.maintenance_work_mem, GB);
        assert_eq!(most.work_mem, 256 * MB);
        assert_eq!(most.max_wal_size, 8 * GB);
    }

    #[test]
    fn more_connections_leave_less_for_each() {
        let few = Tuning::of(Room { memory: 4 * GB, disk: GB, layout: Layout::PerPod, connections: 50 });
        let many = Tuning::of(Room { memory: 4 * GB, disk: GB, layout: Layout::PerPod, connections: 200 });
        assert_eq!(few.work_mem, 20_971 * KB);
        assert_eq!(many.work_mem, 5_242 * KB);
    }

    #[test]
    fn units_are_the_largest_that_divide() {
        assert_eq!(unit(2 * GB), "2GB");
        assert_eq!(unit(1536 * MB), "1536MB");
        assert_eq!(unit(1310 * KB), "1310kB");
        assert_eq!(unit(100_000_000), "97656kB");
    }
}
