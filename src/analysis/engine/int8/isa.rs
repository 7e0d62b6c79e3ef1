//! Which instructions the kernels use.

/// A path through the kernels. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// The target's baseline.
    Portable,
    /// x86-64 with AVX2.
    Avx2,
}

impl Isa {
    /// All there are, the most wanted first.
    pub const ALL: [Self; 2] = [Self::Avx2, Self::Portable];

    /// The best one of this machine.
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|isa| isa.available()).unwrap_or(Self::Portable)
    }

    /// True when this machine can take it.
    pub fn available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 => false,
        }
    }

    /// As it is written in results, tables and `HCC_EDGE_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }
}
