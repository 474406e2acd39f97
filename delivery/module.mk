# SPDX-License-Identifier: ISC
include delivery/resolver.mk
include delivery/smtp.mk
