# SPDX-License-Identifier: ISC
include delivery/resolver.mk
