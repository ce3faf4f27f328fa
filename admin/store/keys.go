package store

import "aisix/admin/resource"

// Every key has one hash tag, so that one script touches one slot.
const prefix = "{aisix:config}:"

func revisionKey() string                 { return prefix + "revision" }         // string: the store-wide write counter
func epochKey() string                    { return prefix + "epoch" }            // string: random, made with the first write
func canaryKey() string                   { return prefix + "canary" }           // string: a known text, sealed
func rowsKey(k resource.Kind) string      { return prefix + string(k) }          // hash: id -> "<revision> <row JSON>"
func orderKey(k resource.Kind) string     { return prefix + string(k) + ":ids" } // zset, all scores 0: ids, in the order of creation
func namesKey(k resource.Kind) string     { return prefix + string(k) + ":names" }
func witnessesKey() string                { return prefix + "witnesses" } // hash: epoch of a lost store -> highest revision that a process holds of it
func replacedKey() string                 { return prefix + "replaced" }  // hash: epoch -> when an operator let it go
func usesKey() string                     { return prefix + "uses" }      // zset, all scores 0: "<provider key id>/<model id>"
func channel() string                     { return prefix + "changes" }   // announcements
func useOf(providerKey, id string) string { return providerKey + "/" + id }
