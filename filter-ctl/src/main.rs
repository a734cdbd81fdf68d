//! The command `filter-ctl`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    filter_ctl::cli::main()
}
