//! One file per external tool that only checks need: argv in, parsed output out.

pub mod actionlint;
pub mod age;
pub mod grep;
pub mod kind;
pub mod kube_score;
pub mod kubeconform;
pub mod mistakes;
pub mod node;
pub mod openssl;
pub mod pod_security;
pub mod skaffold;
pub mod sops;
pub mod vegeta;
