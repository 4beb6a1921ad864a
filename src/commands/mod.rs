//! One file a verb: its arguments in, `run` out. They may use everything; only `main` uses them.

mod app;
mod ask;
mod bundle;
mod doctor;
mod down;
mod explain;
mod follow;
mod learn;
mod passwords;
pub mod render;
mod result;
mod scale;
pub mod settings;
mod state;
mod status;
mod unstick;
mod up;
mod wait;

use app::App;

use crate::cli::{Cli, Command};
use crate::error::{Failure, Outcome};

/// Runs one command; returns the process's exit code.
#[must_use]
pub fn run(cli: Cli) -> u8 {
    let app = App::new(cli.common);
    // One thread: pgset waits far more than it works, and starts sooner without others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                outcome = dispatch(&app, cli.command) => outcome,
                () = interrupted() => Err(app.interrupted()),
            }
        }),
        Err(error) => Err(Failure::error(format!("failed to start: {error}"))),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            app.ui.failure(&failure);
            failure.kind.code()
        }
    }
}

async fn dispatch(app: &App, command: Command) -> Outcome {
    match command {
        Command::Up(args) => up::run(app, args).await,
        Command::Status(args) => status::run(app, args).await,
        Command::Scale(args) => scale::run(app, args).await,
        Command::Down(args) => down::run(app, args).await,
        Command::Render(args) => render::run(app, &args),
        Command::Wait(args) => wait::run(app, args).await,
        Command::Settings(args) => settings::run(app, &args),
        // Boxed, so that every other command does not carry its size around.
        Command::Doctor(args) => Box::pin(doctor::run(app, args)).await,
        Command::Explain(args) => explain::run(app, &args),
    }
}

/// Ends when the person interrupts (Ctrl-C) or somebody asks the process to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
