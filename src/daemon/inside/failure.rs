//! Why a worker gives up, and whose fault that is.

use std::io;

use thiserror::Error;

use super::contents::ContentsError;
use super::order::OrderError;
use crate::analysis::AnalysisError;
use crate::analysis::engine::network::EngineError;
use crate::analysis::engine::package::PackageError;
use crate::analysis::models::NetworkFailure;
use crate::analysis::pmn::PmnError;
use crate::analysis::segment::SegmentError;
use crate::analysis::volume::restore::RestoreError;
use crate::clinical::nomogram::NomogramError;
use crate::host::errors::one_line;
use crate::host::worker::FailureClass;
use crate::render::RenderError;
use crate::seal::cbor::CborError;
use crate::seal::wire::BoundError;

/// Everything that can end a worker without an answer.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// What was sent cannot be taken.
    #[error("taking the study over failed")]
    Contents(#[from] ContentsError),
    /// The order cannot be followed.
    #[error("the daemon's order cannot be followed")]
    Order(#[from] OrderError),
    /// A package without a file that every package of its kind has.
    #[error("package {package} has no usable file {file}: install it again")]
    PackageFile { package: String, file: &'static str },
    /// A package that verifies and still cannot be used.
    #[error("package {package} cannot be used")]
    Package { package: String, source: PackageError },
    /// None or several for one task.
    #[error("{found} packages for the task {task}, expected one")]
    PackageCount { task: &'static str, found: usize },
    /// A nomogram, or the two of them together.
    #[error("the nomograms cannot be used")]
    Nomogram(#[from] NomogramError),
    /// A network does not answer as it should.
    #[error("the self-test of package {package} failed")]
    SelfTest { package: String, source: EngineError },
    /// The analysis.
    #[error("the analysis failed")]
    Analysis(#[from] AnalysisError<NetworkFailure>),
    /// A mask on the scan's own grid.
    #[error("the mask cannot be written")]
    Restore(#[from] RestoreError),
    /// The overview.
    #[error("the overview cannot be drawn")]
    Render(#[from] RenderError),
    /// The findings do not fit a message.
    #[error("the findings do not fit a message")]
    Bound(#[from] BoundError),
    /// The draft does not fit a message.
    #[error("the draft does not fit a message")]
    Draft(#[from] CborError),
    /// The pipe is gone.
    #[error("answering the daemon failed")]
    Answer(#[from] io::Error),
    /// A panic.
    #[error("the worker stopped with a panic: {0}")]
    Panicked(String),
}

impl Failure {
    /// Whose fault it is.
    pub(super) fn class(&self) -> FailureClass {
        if tells_of_memory(&one_line(self)) {
            return FailureClass::Memory;
        }
        match self {
            Self::PackageFile { .. }
            | Self::Package { .. }
            | Self::PackageCount { .. }
            | Self::Nomogram(_)
            | Self::SelfTest { .. } => FailureClass::ModelRefused,
            Self::Contents(ContentsError::TooLarge { .. }) => FailureClass::Memory,
            Self::Analysis(AnalysisError::Network { source, .. }) => class_of_network(source),
            Self::Contents(_)
            | Self::Order(_)
            | Self::Analysis(AnalysisError::Measure(_))
            | Self::Restore(_)
            | Self::Render(_)
            | Self::Bound(_)
            | Self::Draft(_)
            | Self::Answer(_)
            | Self::Panicked(_) => FailureClass::Internal,
        }
    }
}

fn class_of_network(failure: &NetworkFailure) -> FailureClass {
    match failure {
        NetworkFailure::Memory { .. } => FailureClass::Memory,
        NetworkFailure::Segment(SegmentError::WrongTask { .. })
        | NetworkFailure::Classify(PmnError::WrongTask { .. }) => FailureClass::ModelRefused,
        NetworkFailure::Segment(SegmentError::Engine { source, .. })
        | NetworkFailure::Classify(PmnError::Engine(source)) => class_of_engine(source),
        // Distances that are no distances come from the network, whatever it was shown.
        NetworkFailure::Classify(PmnError::Distances { .. }) => FailureClass::ModelRefused,
        NetworkFailure::Segment(SegmentError::Region { .. })
        | NetworkFailure::Classify(PmnError::Grid { .. } | PmnError::EmptyMask) => {
            FailureClass::Internal
        }
    }
}

fn class_of_engine(error: &EngineError) -> FailureClass {
    match error {
        EngineError::NoNetwork { .. }
        | EngineError::Package(_)
        | EngineError::Load { .. }
        | EngineError::TooLarge { .. }
        | EngineError::Panicked { .. }
        | EngineError::OutputShape { .. }
        | EngineError::NotFinite { .. }
        | EngineError::GoldenMismatch { .. } => FailureClass::ModelRefused,
        EngineError::Memory { .. } => FailureClass::Memory,
        EngineError::InputShape { .. } | EngineError::Run { .. } => FailureClass::Internal,
    }
}

/// An allocation or a thread that was refused shows only in the words of whoever asked for it.
fn tells_of_memory(text: &str) -> bool {
    let signs = ["memory allocation", "failed to allocate", "failed to spawn thread"];
    let text = text.to_lowercase();
    signs.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::findings::Stage;
    use crate::units::Bytes;

    fn network(source: NetworkFailure) -> Failure {
        AnalysisError::Network { stage: Stage::Segment, source }.into()
    }

    #[test]
    fn each_failure_has_its_class_and_its_chain() {
        let memory = NetworkFailure::Memory { predicted: Bytes::mib(9), limit: Bytes::mib(8) };
        let engine = EngineError::NotFinite { package: "pmn".to_owned() };
        let too_much = EngineError::Memory {
            package: "liver-tumour".to_owned(),
            size: [96; 3],
            needed: Bytes::mib(9),
            limit: Bytes::mib(8),
        };
        let panicked = EngineError::Panicked {
            package: "pmn".to_owned(),
            step: "running",
            message: "Failed to allocate 4096 bytes".to_owned(),
        };
        for (failure, class) in [
            (network(memory), FailureClass::Memory),
            (network(PmnError::Engine(engine).into()), FailureClass::ModelRefused),
            (network(PmnError::Engine(too_much).into()), FailureClass::Memory),
            (network(PmnError::Engine(panicked).into()), FailureClass::Memory),
            (network(PmnError::EmptyMask.into()), FailureClass::Internal),
            (Failure::PackageCount { task: "segmentation", found: 2 }, FailureClass::ModelRefused),
            (Failure::Panicked("index out of bounds".to_owned()), FailureClass::Internal),
        ] {
            assert_eq!(failure.class(), class, "{failure:?}");
        }
        let text = one_line(&network(PmnError::EmptyMask.into()));
        assert!(text.starts_with("the analysis failed: running a network at stage Segment"));
        assert!(text.ends_with("the mask holds neither liver nor tumour"), "{text}");
    }
}
