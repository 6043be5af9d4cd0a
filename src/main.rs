//! The entry of the command line; everything is in [`walferry::native`].

fn main() -> std::process::ExitCode {
    walferry::native::main()
}
