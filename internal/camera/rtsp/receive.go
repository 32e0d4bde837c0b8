package rtsp

// take hands an interleaved frame to its track. Two tracks on one channel are
// told apart by their payload types.
func (s *session) take(it item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var to *track
	for _, t := range s.tracks {
		if !s.described { // before PLAY was sent: of a dead session
			break
		}
		if it.use == rtpChannel && t.channels[0] == int(it.channel) {
			if to = t; t.m.Takes(it.frame[1] & 0x7f) {
				break
			}
		}
		if it.use == rtcpChannel && t.channels[1] == int(it.channel) {
			to = t
			break
		}
	}
	switch {
	case to == nil:
		s.stats.Foreign++
	case it.use == rtpChannel:
		to.take(it.frame, s.o.Clock.Wall())
	default:
		to.takeRTCP(it.frame)
	}
}

// receive starts the goroutines of the sockets; they end when goodbye closes
// them.
func (s *session) receive() {
	for _, t := range s.tracks {
		alone := func() { s.locked(func() { s.stats.Foreign++ }) }
		s.readers.Go(func() {
			receive(t.sockets.rtp, t.sockets.camera,
				func(b []byte) {
					now := s.o.Clock.Wall()
					s.mu.Lock()
					t.take(b, now)
					s.mu.Unlock()
				},
				alone,
				func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					t.order.age(s.o.Clock.Wall())
					return t.order.held > 0
				})
		})
		s.readers.Go(func() {
			receive(t.sockets.rtcp, t.sockets.camera,
				func(b []byte) {
					s.mu.Lock()
					t.takeRTCP(b)
					s.mu.Unlock()
				},
				alone, func() bool { return false })
		})
	}
}

func (s *session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *session) punch() {
	var b [64]byte
	mono := s.o.Clock.Mono()
	for _, t := range s.tracks {
		s.mu.Lock()
		r := t.report(b[:0], mono)
		s.mu.Unlock()
		if r != nil {
			t.sockets.punch(r)
		}
	}
}
