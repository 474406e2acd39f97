# SPDX-License-Identifier: ISC
dist_check_SCRIPTS += tests/layers
TESTS += tests/layers
