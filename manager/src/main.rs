//! The program: everything is in the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The system's keeps what was freed: a manager that has answered for pages of 500 builds, by threads that are idle since, has
/// 200 MiB for good. This one is at a tenth of that some seconds later.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    image_manager::cli::main()
}
