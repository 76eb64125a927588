//! The program `eigenlens`. All it does is in the library beside it.

fn main() -> std::process::ExitCode {
    eigenlens::commands::main(std::env::args_os().collect()).into()
}
