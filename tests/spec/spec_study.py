"""A small valid spec that tests change."""

from __future__ import annotations

STUDY = """\
schema: mechshift/v1
name: study
models:
  arm: {source: ./arm, paradigm: autoregressive}
  mdm: {source: ./mdm, paradigm: masked_diffusion, mask_token: "<mask>"}
  continued: {source: ./arm, paradigm: autoregressive}
pairs:
  - {name: diffusion, before: arm, after: mdm, role: treatment, seed: 0}
  - {name: control, before: arm, after: continued, role: control, seed: 0}
tasks:
  - {name: ioi, examples: 100}
  - {name: countdown}
  - {name: mine, regime: global, dataset: mine.jsonl}
interventions:
  - {name: circuit, kind: edge_attribution, method: eap-ig, steps: 5}
measures:
  overlap: {top_k: [50, 100, 200]}
  depth: {}
hypotheses:
  - id: kept
    measure: retention
    where: {role: treatment, regime: local}
    test: {kind: equivalence, to: {role: control, regime: local}, margin: 0.2}
  - id: rewired
    measure: retention
    contrast: {regime: [global, local], role: [treatment, control]}
    test: {kind: difference, alternative: less}
"""
