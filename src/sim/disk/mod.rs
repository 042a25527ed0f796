//! The simulated disk: what the page cache shows, and what the platter has.
//!
//! ```text
//! File::write_at, Segment::fill ─▶ cache page (dirty) ─┬─ sync ───────────▶ platter
//!                                                      ├─ early write-back ▶ platter   any time, any page
//!                                                      └─ OsCrash ─────────▶ kept, lost or torn at 512-byte sectors
//! create, rename, remove ─▶ names (pending) ── sync_dir ──▶ durable names; OsCrash keeps a prefix per directory
//! ```
//!
//! A process that dies loses nothing. A machine that loses power keeps any subset of what was not synced; each file's
//! length is durable only with its sync. A failed sync marks its pages clean although they never reached the platter,
//! and the next one says `Ok` (fsyncgate); a lying sync says `Ok` at once.
//!
//! Pages are shared and copied on write, so an image of the whole disk costs a pointer per page: a crash test can take
//! one at every sync and look at many legal successors of each ([`DiskImage::crash_images`]).
//!
//! Not here: latency of anything but a call's start to its end; two processes on one disk.

mod handle;
mod image;
mod inode;
mod node_disk;
mod tree;

pub(super) use handle::SimDisk;
pub use image::DiskImage;
pub use image::Loss;
pub use image::Survival;
pub use node_disk::DiskControl;
pub use node_disk::DiskFaults;
pub use node_disk::DiskStats;
pub(super) use node_disk::NodeDisk;
